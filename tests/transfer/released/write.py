"""Writes small hosts and tasks with their answers, and an export, once for each format version.

    python tests/transfer/released/write.py tests/transfer/released/v6

What it wrote stays as it is: `test_released_formats.py` checks that today's code reads it and
answers the same.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import scipy.sparse

import keras_peterrec as kp
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.field_kinds import Categories, Numbers, TimeUntilNext
from keras_peterrec.log.preprocessing import known_items

ITEMS = [f"item{n}" for n in range(9)]
HISTORIES = [[0, 0, 4, 9, 5], [4, 5, 6, 7, 12], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
KINDS = [
    kp.Recommendation(kp.Vocabulary(["film", "book", "song"], special_ids=False)),
    kp.Classification(["a", "b"]),
    kp.Multilabel(["news", "sports"]),
    kp.Regression("spend", mean=20.0, deviation=7.5),
]
CLASSES = KINDS[1]
EXPORTED = "patch-recommendation"
FIELDS = EventFields(  # of the masked host
    [TimeUntilNext(), Categories("kind", ["view", "buy"]), Numbers("price", [2.5, 9.0], 4.0)]
)
# Between them every setting of a patch and every insertion.
PATCHES = (
    "bottleneck:2,serial",
    "bottleneck:2,parallel,inner_skip",
    "bottleneck:2,parallel_after_activation",
    "lora:2+norm",
    "compacter:4",
    "ia3",
    "scale_shift+bias",
    "bottleneck:2+item_lora:2,rows=9",
    "item_bottleneck:2",
)

# Which tasks have a linear part, of which bag; the others have none.
LINEAR = {
    "patch-recommendation": {"fade": 4.0, "sparse": True},
    "patch-classification": {"power": 0.5, "events": 2},
    "patch-regression": {},
}


def main(folder):
    answers = {}
    for objective, pretrainer in (("causal", kp.CausalPretrainer), ("masked", kp.MaskedPretrainer)):
        causal = objective == "causal"
        fields = EventFields() if causal else FIELDS
        backbone = kp.ConvolutionNetwork(
            len(ITEMS) + 4, hidden_dim=4, dilations=(1, 4), causal=causal, fields=fields.sizes
        )
        host = kp.Host(
            fill(pretrainer(backbone)), kp.Vocabulary(ITEMS), max_length=5, fields=fields
        )
        host.pretrainer.linear = linear_part(len(ITEMS), fade=2.0, sparse=causal)
        host.save(folder / objective / "host")
        answers[f"{objective}/host"] = answer_of_host(host)
        for seed, (name, task) in enumerate(make_tasks(host).items()):
            own_host = [] if task.model.host is host.backbone else task.model.trainable_weights
            fill(task.model, seed + 1, [*task.model.task_weights().values(), *own_host])
            if name in LINEAR:
                task.model.linear = linear_part(len(task.labels), **LINEAR[name])
            task.save(folder / objective / name, host)
            answers[f"{objective}/{name}"] = answer_of(task)
    (folder / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")
    write_export(folder)


def write_export(folder):
    """Exports the causal host and one task, which answers what its bundle does."""
    host = kp.Host.load(folder / "causal" / "host")
    task = kp.Task.load(folder / "causal" / EXPORTED, host)
    kp.export(host, {"films": task}, folder / "export" / "1", k=3)


def linear_part(outputs, sparse=False, **bag):
    """A LinearTable of random numbers."""
    rng = np.random.default_rng(outputs)
    table = rng.normal(0.0, 0.5, (len(ITEMS), outputs)).astype("float32")
    if sparse:
        table = scipy.sparse.csr_matrix(table * (table > 0))
    bias = rng.normal(0.0, 0.5, outputs).astype("float32")
    return kp.LinearTable.of_part(LinearPart(Bag(**bag), table, bias))


def make_tasks(host):
    """A task of each kind, of each method that differs on disk and of each patch."""
    made = {
        f"patch-{kind.name}": (kind, "patch", "bottleneck:2,serial_single", {}) for kind in KINDS
    }
    for method in ("head", "all", "last1"):
        made[f"{method}-classification"] = (CLASSES, method, None, {})
    for patch in PATCHES:
        reads = {"history_length": 9, "window": 3}
        made[re.sub("[:+,=]", "-", patch)] = CLASSES, "patch", patch, reads
    return {
        name: kp.Task(
            kp.build_task(host.backbone, kind.new_head(), method, patch, **reads),
            method,
            kind,
            {"seed": 0},
        )
        for name, (kind, method, patch, reads) in made.items()
    }


def answer_of_host(host):
    """What a host says of `HISTORIES`, likewise."""
    return {"scores": np.asarray(host.next_item_scores(known_items(HISTORIES))).tolist()}


def answer_of(task):
    """What a task answers to `HISTORIES`, as JSON holds it."""
    if isinstance(task.kind, kp.Recommendation):
        items, scores = task.recommend(HISTORIES, k=3)
        return {"items": items.tolist(), "scores": scores.tolist()}
    if isinstance(task.kind, kp.Regression):
        return {"values": task.values(HISTORIES).tolist()}
    return {"probabilities": task.probabilities(HISTORIES).tolist()}


def fill(model, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    for weight in model.weights if weights is None else weights:
        if "seed" not in weight.name:
            weight.assign(rng.normal(0.0, 0.5, tuple(weight.shape)))
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]))
