"""A task in memory: what it answers, and which heads it may have."""

import keras
import numpy as np
import pytest
from task_samples import KINDS, TARGETS, make_task, scores

from keras_peterrec import task_kinds
from keras_peterrec.errors import InputError
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task


def test_recommends_the_best_without_the_excluded(host, histories):
    task = make_task(host, "recommendation")
    of_all = scores(task, histories)
    items, best = task.recommend(histories, k=2)
    order = np.argsort(-of_all, axis=1)[:, :2]
    assert items.tolist() == [[TARGETS[n] for n in row] for row in order]
    np.testing.assert_array_equal(best, np.take_along_axis(of_all, order, axis=1))
    deny = [[row[0], "never heard of"] for row in items]
    again, _ = task.recommend(histories, k=2, deny=deny)
    assert again[:, 0].tolist() == items[:, 1].tolist()
    assert not set(again.ravel()) - set(TARGETS)


def test_probabilities_of_classes_are_a_softmax_and_those_of_labels_are_sigmoids(host, histories):
    for kind in ("classification", "multilabel"):
        task = make_task(host, kind)
        logits = scores(task, histories).astype("float64")
        if kind == "classification":
            expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        else:
            expected = 1 / (1 + np.exp(-logits))
        found = task.probabilities(histories)
        assert found.dtype == "float32" and found.shape == (len(histories), len(task.labels))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_values_are_in_the_units_of_the_column(host, histories):
    task = make_task(host, "regression")
    found = task.values(histories)
    assert found.dtype == "float32" and found.shape == (len(histories),)
    expected = 1 / 3 + 2**0.5 * scores(task, histories)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "method, kinds, asked",
    [
        ("recommend", ["recommendation"], "recommendation to recommend"),
        ("probabilities", ["classification", "multilabel"], "classification or multilabel to give"),
        ("values", ["regression"], "regression to give numbers"),
    ],
)
def test_a_question_to_the_wrong_kind_is_one_clear_line(host, histories, method, kinds, asked):
    for kind in KINDS:
        ask = getattr(make_task(host, kind), method)
        if kind in kinds:
            ask(histories)
            continue
        with pytest.raises(InputError) as info:
            ask(histories)
        message = str(info.value)
        assert message.startswith(f"`task` should be of the kind {asked}") and "\n" not in message
        assert message.endswith(f"Received: a {kind} task.")


class TwoLayers(keras.layers.Layer):
    """A head that no kind of ours has."""

    def __init__(self, outputs, name="head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.hidden = keras.layers.Dense(4, "relu", name="hidden")
        self.out = LinearHead(outputs, name="out")

    def build(self, input_shape):
        self.hidden.build(input_shape)
        self.out.build((None, 4))

    def call(self, user):
        return self.out(self.hidden(user))


class DeepClassification(Classification):
    """Classification with a head of two layers."""

    name = "deep_classification"

    def new_head(self):
        return TwoLayers(len(self.labels))


@pytest.mark.parametrize(
    "head", [keras.layers.Dense(3), TwoLayers(3), LinearHead(2)], ids=lambda head: head.name
)
def test_a_head_that_is_not_the_kinds_is_refused_at_save_and_at_export(host, head, tmp_path):
    task = Task(build_task(host.backbone, head), "patch", Classification(["a", "b", "c"]))
    for refuse in (
        lambda: task.save(tmp_path / "task", host),
        lambda: export(host, {"task": task}, tmp_path / "export" / "1"),
    ):
        with pytest.raises(InputError) as info:
            refuse()
        message = str(info.value)
        assert "register_task_kind" in message and "\n" not in message
        assert "a LinearHead with 3 outputs" in message and f"a {type(head).__name__}" in message
    assert not list(tmp_path.iterdir())


@pytest.fixture
def deep_kind(monkeypatch):
    monkeypatch.setattr(task_kinds, "_KINDS", dict(task_kinds._KINDS))
    return task_kinds.register_task_kind(DeepClassification)


@pytest.mark.slow
@pytest.mark.usefixtures("unasked")
def test_a_head_of_ones_own_works_through_a_registered_kind(host, deep_kind, histories, tmp_path):
    task = make_task(host, deep_kind(["a", "b"]))
    task.save(tmp_path / "task", host)
    loaded = Task.load(tmp_path / "task", host)
    assert type(loaded.kind) is deep_kind and type(loaded.model.head) is TwoLayers
    assert scores(loaded, histories).tobytes() == scores(task, histories).tobytes()
    mixed = MixedTasks.load([tmp_path / "task"], host)
    for answer, row in zip(mixed.scores(histories, ["task"] * 4), scores(task, histories)):
        np.testing.assert_allclose(answer, row, atol=1e-5)
    export(host, {"task": loaded}, tmp_path / "export" / "1")
    answer = ExportedModel(tmp_path / "export" / "1").predict("task", [""])
    empty = task.probabilities(np.zeros((1, 6), "int32"))[0]
    np.testing.assert_allclose(answer["scores"][0], sorted(empty)[::-1], rtol=1e-4)
