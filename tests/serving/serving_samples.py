"""Small hosts and tasks with random weights, their export, and what it should answer."""

from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.causal_pretrainer import CausalPretrainer
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.models.masked_pretrainer import MaskedPretrainer
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

MAX_LENGTH = 12
SUMMARY = {"summary": 20, "window": MAX_LENGTH}  # of "films": it reads more than its host does
CLASSES = ["young", "middle-aged", "old"]
NAMES = ["serving_default", "embed", "films", "age-group.v2", "tuned"]
CLASSIFY_NAMES = [f"{name}_classify" for name in NAMES if name != "embed"]
ASKED = NAMES + CLASSIFY_NAMES
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
    keras.utils.set_random_seed(seed)
    backbone = Backbone(100, 16, dilations=(1, 4), causal=causal)
    pretrainer = (CausalPretrainer if causal else MaskedPretrainer)(backbone, tied=tied)
    randomise(pretrainer, seed)
    items = [f"s{n}" for n in range(90)] + [f"t{n}" for n in range(6)]
    return Host(pretrainer, Vocabulary(items), MAX_LENGTH)


def make_task(host, kind="recommend", method="patch", items=30, seed=1, **summary):
    if kind == "recommend":
        # Half of the targets are source items too, so that a history can hold them.
        targets = [f"t{n}" for n in range(items // 2)] + [f"s{n}" for n in range(items // 2)]
        model = build_task(host.backbone, RecommenderHead(len(targets)), method, **summary)
        task = Task(model, method, targets=Vocabulary(targets, special_ids=False))
    else:
        model = build_task(host.backbone, ClassifierHead(len(CLASSES)), method, **summary)
        task = Task(model, method, classes=CLASSES)
    own = model if model.host is not host.backbone else None
    before = host.fingerprint()
    for n, weight in enumerate(own.weights if own else model.task_weights().values()):
        if "seed" not in weight.path:
            random = np.random.default_rng((seed, n))
            weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape))
    assert host.fingerprint() == before
    return task


def make_tasks(host):
    return {
        "films": make_task(host, **SUMMARY),
        "age-group.v2": make_task(host, "classify", seed=2),
        "tuned": make_task(host, method="all", items=8, seed=3),
    }


def make_export(host, folder):
    tasks = make_tasks(host)
    out = folder / "peterrec" / "1"
    report = export(host, tasks, out, k=10)
    model = ExportedModel(out)  # a second to load, so once for all tests
    return SimpleNamespace(host=host, tasks=tasks, out=out, report=report, model=model)


def rows_for(name, histories):
    """Histories as a signature reads them, bytes: strings, or serialized `tf.Example`."""
    if name not in CLASSIFY_NAMES:
        return [history.encode() for history in histories]
    return [example(history.split()) for history in histories]


def inputs_for(name, histories):
    """What a signature of histories reads, by input name."""
    key = "inputs" if name in CLASSIFY_NAMES else "history"
    return {key: rows_for(name, histories)}


def example(items):
    """A serialized `tf.Example`, as a server makes it of `{"history": items}`."""
    history = tf.train.Feature(bytes_list=tf.train.BytesList(value=[i.encode() for i in items]))
    features = tf.train.Features(feature={"history": history})
    return tf.train.Example(features=features).SerializeToString()


def expected(exported, name, histories):
    """What Python answers to raw histories, without TensorFlow's string operations."""
    if name in CLASSIFY_NAMES:
        answer = expected(exported, name.removesuffix("_classify"), histories)
        return {"classes": answer.get("items", answer.get("classes")), "scores": answer["scores"]}
    reader = exported.tasks.get(name)
    length = exported.host.history_length(reader.model) if reader else MAX_LENGTH
    ids = np.concatenate([padded(exported.host, history, length) for history in histories])
    seen = [history.split() for history in histories]
    if name == "embed":
        return {"embedding": np.array(exported.host.pretrainer.user_states(ids))}
    if name == "serving_default":
        scores = np.array(exported.host.pretrainer.next_item_scores(ids))
        items = exported.host.vocabulary.items
        for row, known in enumerate(seen):
            scores[row, np.isin(items, known)] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        return filled(items[best], np.take_along_axis(scores, best, axis=1))
    task = exported.tasks[name]
    if task.kind == "recommend":
        return filled(*task.recommend(ids, k=10, exclude=seen))
    scores = task.probabilities(ids)
    order = np.argsort(-scores, axis=1, kind="stable")
    classes = np.array(task.classes, dtype=object)[order]
    return {"classes": classes, "scores": np.take_along_axis(scores, order, axis=1)}


def padded(host, history, length):
    """Ids `[1, L]`, padded on the left, of one raw history's last `length` events."""
    items = history.split()[-length:]
    row = np.zeros((1, length), "int32")
    if items:
        row[0, -len(items) :] = host.vocabulary.encode(items)
    return row


def filled(items, scores):
    """Seen items as the SavedModel gives them: no name, the lowest float32."""
    return {
        "items": np.where(np.isfinite(scores), items, ""),
        "scores": np.maximum(scores, np.finfo("float32").min),
    }


def assert_same(answer, reference):
    """Strings alike, floats within 1e-5."""
    assert answer.keys() == reference.keys()
    for name, values in reference.items():
        if values.dtype == object or values.dtype.kind == "U":
            np.testing.assert_array_equal(answer[name], values)
        else:
            np.testing.assert_allclose(answer[name], values, rtol=1e-5, atol=1e-5)
