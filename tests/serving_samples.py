"""Small hosts and tasks with random weights, their export, and what it should answer."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_samples import random_table

from keras_peterrec.linear.bag import Bag
from keras_peterrec.log.vocabulary import UNK, Vocabulary
from keras_peterrec.models.pretrainer import CausalPretrainer, MaskedPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.signature_names import COUNTS
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.serving.verify.verify_export import checks
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.tasks.multilabel import Multilabel
from keras_peterrec.tasks.recommendation import Recommendation
from keras_peterrec.tasks.regression import Regression
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

MAX_LENGTH = 12
# Of "films": it is given more of a history than its network reads.
LONGER = {"history_length": 20, "window": MAX_LENGTH}
# Of the tasks' linear parts, by kind; "multilabel" has none. All but one read more of a history
# than the network.
BAGS = {
    "next": Bag(fade=2.0, events=25),
    "recommendation": Bag(fade=8.0, events=16),
    "classification": Bag(power=0.5, events=30),
    "regression": Bag(events=7),
}
CLASSES = ["young", "middle-aged", "old"]
TOPICS = ["news", "s1", "sports", "films"]  # "s1" is an item as well, which hides no label
NAMES = ["serving_default", "embed", "films", "age-group.v2", "tuned", "topics", "spend"]
# The signatures for a server's `:classify` and `:regress`, and whose answers they give.
OF_EXAMPLES = {
    "serving_default_classify": "serving_default",
    "films_classify": "films",
    "age-group.v2_classify": "age-group.v2",
    "tuned_classify": "tuned",
    "topics_classify": "topics",
    "spend_regress": "spend",
}
# What `tests/serving/test_select.py` asks.
OF_REQUESTS = ["serving_default_select", "films_select", "tuned_select", "similar"]
ASKED = [*NAMES, *OF_REQUESTS, "known", *OF_EXAMPLES]
HISTORIES = [
    "s0 s5 s9",
    "s1",
    "",
    "  s7\t s8 \n unheard-of s3 ",
    "unheard-of t0",
    "t0 t1 " + " ".join(f"s{n}" for n in range(40)),
]


def randomise(model, seed):
    """Gives every weight of a model random values, patches and biases included."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape))


def make_host(causal=True, tied=True, seed=0):
    """A host of one block: more would only be traced longer."""
    keras.utils.set_random_seed(seed)
    backbone = ConvolutionNetwork(100, 16, dilations=(1,), causal=causal)
    pretrainer = (CausalPretrainer if causal else MaskedPretrainer)(backbone, tied=tied)
    randomise(pretrainer, seed)
    # A sparse linear part for one host, a dense one for the other.
    pretrainer.linear = random_table(96, 96, bag=BAGS["next"], sparse=causal, seed=seed)
    items = [f"s{n}" for n in range(90)] + [f"t{n}" for n in range(6)]
    return Host(pretrainer, Vocabulary(items), MAX_LENGTH)


def make_kind(name, items=30):
    """A kind of task by its name; one that recommends has so many target items."""
    if name == "recommendation":
        # Half of the targets are source items too, so that a history can hold them.
        targets = [f"t{n}" for n in range(items // 2)] + [f"s{n}" for n in range(items // 2)]
        return Recommendation(Vocabulary(targets, special_ids=False))
    return {
        "classification": Classification(CLASSES),
        "multilabel": Multilabel(TOPICS),
        "regression": Regression("spend", mean=40.0, deviation=12.5),
    }[name]


def make_task(host, kind="recommendation", method="patch", items=30, seed=1, **reads):
    """A task with random weights in its patches and its head."""
    kind, reads = make_kind(kind, items), reads or {"window": MAX_LENGTH}
    model = build_task(host.backbone, kind.new_head(), method, **reads)
    own = model if model.host is not host.backbone else None
    before = host.fingerprint()
    for n, weight in enumerate(own.weights if own else model.task_weights().values()):
        if "seed" not in weight.path:
            random = np.random.default_rng((seed, n))
            weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape))
    assert host.fingerprint() == before
    if kind.name in BAGS:
        n = len(kind.labels)
        model.linear = random_table(96, n, bag=BAGS[kind.name], sparse=items < 30, seed=seed)
    return Task(model, method, kind, host=host)


def make_tasks(host, **reads):
    """A task of each kind, and one with a copy of the host."""
    return {
        "films": make_task(host, **(reads or LONGER)),
        "age-group.v2": make_task(host, "classification", seed=2, **reads),
        "tuned": make_task(host, method="all", items=8, seed=3, **reads),
        "topics": make_task(host, "multilabel", seed=4, **reads),
        "spend": make_task(host, "regression", seed=5, **reads),
    }


def shared_export(made_once, name, host):
    tasks = make_tasks(host)
    version = Path("peterrec") / "1"

    def make(folder):
        with without_warmup():  # `test_warmup.py` asks its requests
            return export(host, tasks, folder / version, k=10)

    folder, report = made_once(name, make)
    out = folder / version
    model = ExportedModel(out)  # a second to load, so once for all tests
    opened = {"model": model, "folder": ExportFolder(out)}
    return SimpleNamespace(host=host, tasks=tasks, out=out, report=report, **opened)


def shared_stepping_export(made_once):
    """Its answers are as long as there are items."""
    host = make_host()
    tasks = {"films": make_task(host), "spend": make_task(host, "regression", seed=6)}
    mixed = {
        "books": make_task(host, seed=2),
        "age": make_task(host, "classification", seed=3),
        "topics": make_task(host, "multilabel", seed=4),
        "income": make_task(host, "regression", seed=5),
    }
    version = Path("peterrec") / "1"

    def make(folder):
        more = {"incremental": True, "mixed": MixedTasks.of_tasks(mixed)}
        with without_warmup():
            export(host, tasks, folder / version, k=100, **more)

    out = made_once("stepping", make)[0] / version
    return SimpleNamespace(host=host, tasks=tasks, mixed=mixed, out=out, model=ExportedModel(out))


@contextlib.contextmanager
def without_warmup():
    """Exports do not ask themselves their warm-up requests, a third of their time.

    For tests whose exports have no signatures that others lack, or that check them anyway.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_peterrec.serving.export._replay_warmup", lambda folder: None)
        yield


def problems(path):
    """What the checks of a version find in this process: none of another loader."""
    folder = ExportFolder(path)
    asked = (check(folder) for name, check in checks().items() if name != "C loader")
    return [problem for found in asked for problem in found]


def rows_for(name, histories):
    """Histories as a signature reads them, bytes: strings, or serialized `tf.Example`."""
    if name not in OF_EXAMPLES:
        return [history.encode() for history in histories]
    return [example(history.split()) for history in histories]


def inputs_for(name, histories):
    """What a signature of histories reads, by input name."""
    key = "inputs" if name in OF_EXAMPLES else "history"
    return {key: rows_for(name, histories)}


def example(items):
    """A serialized `tf.Example`, as a server makes it of `{"history": items}`."""
    history = tf.train.Feature(bytes_list=tf.train.BytesList(value=[i.encode() for i in items]))
    features = tf.train.Features(feature={"history": history})
    return tf.train.Example(features=features).SerializeToString()


def expected(exported, name, histories):
    """What Python answers to raw histories, without TensorFlow's string operations."""
    if name == "known":
        return counts(exported.host, histories)
    if name in OF_EXAMPLES:
        return as_examples(_answers(exported, OF_EXAMPLES[name], histories))
    answer = _answers(exported, name, histories)
    return answer | counts(exported.host, histories) if len(answer) > 1 else answer


def counts(host, histories):
    """How many events raw histories have, and how many of them are known."""
    ids = [host.vocabulary.encode(history.split()) for history in histories]
    known = [np.count_nonzero(row != UNK) for row in ids]
    return {"known_events": np.array(known), "events": np.array([len(row) for row in ids])}


def _answers(exported, name, histories):
    task = exported.tasks.get(name)
    length = exported.host.next_item_length
    if task:
        length = exported.host.history_length(task.model)
    ids = np.concatenate([padded(exported.host, history, length) for history in histories])
    seen = [history.split() for history in histories]
    if task:
        return task_answer(task, ids, seen)
    if name == "embed":
        return {"embedding": np.array(exported.host.pretrainer.user_states(ids[:, -MAX_LENGTH:]))}
    scores = np.array(exported.host.next_item_scores(ids))
    items = exported.host.vocabulary.items
    for row, known in enumerate(seen):
        scores[row, np.isin(items, known)] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return filled(items[best], np.take_along_axis(scores, best, axis=1))


def task_answer(task, ids, seen):
    """What a task answers to ids `[B, L]`, in the outputs of its signature."""
    if task.kind.name == "recommendation":
        return filled(*task.recommend(ids, k=10, deny=seen))
    if task.kind.name == "regression":
        return {"value": task.values(ids)}
    scores = task.probabilities(ids)
    order = np.argsort(-scores, axis=1, kind="stable")
    labels = np.array(task.labels, dtype=object)[order]
    output = "classes" if task.kind.name == "classification" else "labels"
    return {output: labels, "scores": np.take_along_axis(scores, order, axis=1)}


def as_examples(answer):
    """An answer in the outputs that a server's `:classify` or `:regress` reads."""
    if "value" in answer:
        return {"outputs": answer["value"]}
    (labels,) = set(answer) - {"scores"}
    return {"classes": answer[labels], "scores": answer["scores"]}


def padded(host, history, length):
    """Ids `[1, L]`, padded on the left, of one raw history's last `length` known items."""
    ids = [n for n in host.vocabulary.encode(history.split()) if n != UNK][-length:]
    row = np.zeros((1, length), "int32")
    row[0, length - len(ids) :] = ids
    return row


def filled(items, scores):
    """Seen items as the SavedModel gives them: no name, the lowest float32."""
    return {
        "items": np.where(np.isfinite(scores), items, ""),
        "scores": np.maximum(scores, np.finfo("float32").min),
    }


def without_counts(answer):
    """An answer as one of other events gives it: a step has one event, a history many."""
    return {name: values for name, values in answer.items() if name not in COUNTS}


def assert_same(answer, reference):
    """Strings alike, floats within 1e-5; how many events are known where both say it."""
    assert without_counts(answer).keys() == without_counts(reference).keys()
    for name in answer.keys() & reference.keys():
        values = reference[name]
        if values.dtype == object or values.dtype.kind == "U":
            np.testing.assert_array_equal(answer[name], values)
        else:
            np.testing.assert_allclose(answer[name], values, rtol=1e-5, atol=1e-5)
