"""A kind of task that a user wrote: trained, saved, measured, exported and asked as any other."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_peterrec import task_kinds
from keras_peterrec.experiments.tables import summarise
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.label_regression import LabelRegression
from keras_peterrec.log.event_split import TRAIN
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.task_examples import label_examples
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.runs.linear import linear
from keras_peterrec.runs.predict import predict
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.tasks.task_kind import ExportedAnswers, Metric, TaskKind
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task


@keras.saving.register_keras_serializable("tests")
class CountHead(keras.layers.Layer):
    """A count that is expected, exp(h w + b)."""

    def __init__(self, name="head", **kwargs):
        super().__init__(name=name, **kwargs)

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 1))
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def call(self, user):
        return ops.exp(ops.clip(ops.matmul(user, self.kernel) + self.bias, -5.0, 5.0))


class Count(TaskKind):
    """How many of something a user has."""

    name = "count"
    metric = Metric("poisson", higher_is_better=False)
    shown = ("poisson", "bias")
    unit = "number"
    example_suffix = "_regress"

    def __init__(self, column):
        self.column = column

    @property
    def labels(self):
        return [self.column]

    def new_head(self):
        return CountHead()

    @classmethod
    def make_data(cls, source, answers, max_length, settings):
        users, values = answers.one_each()
        counts = values.astype("float32")[:, None]
        examples = label_examples(source, users, counts)
        return CountData(cls(answers.column), source, examples, max_length, settings)

    def save(self, folder):
        return {"column": self.column}

    @classmethod
    def load(cls, saved, folder):
        return cls(**saved)

    def values(self, scores):
        return np.asarray(scores)[:, 0]

    def export_answers(self, name, folder, k):
        return ExportedAnswers(
            lambda scores, seen: {"count": scores[:, 0]},
            lambda answer: {"outputs": answer["count"]},
        )


class CountData(TaskData):
    def loss(self, name=None):
        return keras.losses.Poisson()

    def measure_users(self, users, head, part, sampled=False, linear=None):
        return self._metrics(np.asarray(head(users)), part)

    def baseline(self, part):
        mean = self.splits[TRAIN].answers.mean()
        found = np.full((len(self.splits[part]), 1), mean)
        return {"name": "mean", "test": self._metrics(found, part)}

    def fit_linear(self, size):
        train = self.splits[TRAIN]
        squared = lambda found: (
            np.sum((found - train.answers) ** 2) / 2,
            found - train.answers,
        )
        rows = self.source.items, train.starts, train.stops
        start = [train.answers.mean()]
        return LabelRegression(Bag(), *rows, size, start, squared).solve(10.0)

    def measure_linear(self, linear, part, sampled=False):
        return self._metrics(np.maximum(self.linear_scores(linear, part).all(), 0.1), part)

    def _metrics(self, found, part):
        truths = self.splits[part].answers
        loss = np.mean(found - truths * np.log(found))
        return {"poisson": float(loss), "bias": float(np.mean(found - truths))}


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(task_kinds, "_KINDS", dict(task_kinds._KINDS))
    task_kinds.register_task_kind(Count)


@pytest.mark.usefixtures("unasked")
def test_an_own_kind_goes_all_the_way(registered, host_folder, tmp_path):
    log = load_log("simulated/source")
    visits = np.bincount(log.users) // 10
    rows = [f"{user},{count}" for user, count in zip(log.user_ids, visits)]
    table = tmp_path / "users.csv"
    table.write_text("\n".join(["user_id,visits", *rows]) + "\n")
    task = {"labels": table, "column": "visits", "kind": "count"}
    out = tmp_path / "visits"
    quick = {"epochs": 2, "train_fraction": 0.3, "method": "head"}
    result = transfer(host_folder, log, out, **quick, **task)
    assert result["kind"] == "count" and result["baseline"]["name"] == "mean"
    assert result["metrics"]["test"].keys() == {"poisson", "bias"}
    again = evaluate(out, log=log)["metrics"]["test"]
    assert again == pytest.approx(result["metrics"]["test"], abs=1e-5)

    host = Host.load(host_folder)
    loaded = Task.load(out, host)
    assert isinstance(loaded.model.head, CountHead) and loaded.labels == ["visits"]
    items = host.vocabulary.items[:3].tolist()
    expected = loaded.values([host.vocabulary.encode(items)])
    export_runs(host_folder, [out], tmp_path / "export" / "1")
    answer = predict(tmp_path / "export" / "1", [" ".join(items)], ["visits"])
    [of_history] = answer["visits"].values()
    assert of_history["count"] == pytest.approx(expected[0], rel=1e-5)
    model = ExportedModel(tmp_path / "export" / "1")
    described = model.description["tasks"]["visits"]
    assert (described["kind"], described["unit"]) == ("count", "number")
    assert "visits_regress" in model._model.signatures

    alone = linear(log, tmp_path / "linear", **task)
    assert alone["metrics"]["test"]["poisson"] < alone["baseline"]["test"]["poisson"]
    runs = [
        {
            **{"row": "patch", "task": "visits", "kind": "count", "seed": 0, "settings": {}},
            **{"trainable": 1, "seconds": 1.0, "test": result["metrics"]["test"]},
            "baselines": result["baselines"],
        }
    ]
    assert [cell["metric"] for cell in summarise(runs) if cell["row"] == "patch"] == [
        *("poisson", "poisson"),
        *("bias", "bias"),
    ]
