"""Writes small hosts and task bundles with their answers, once for each released version.

    python tests/transfer/released/write.py tests/transfer/released/v1

What it wrote stays as it is: `test_released_formats.py` asks today's code to read it and
to answer the same.
"""

import json
import sys
from pathlib import Path

import numpy as np

import keras_peterrec as kp

ITEMS = [f"item{n}" for n in range(9)]
TARGETS = ["film", "book", "song"]
HISTORIES = [[0, 0, 4, 9, 5], [4, 5, 6, 7, 12], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
METHODS = ("patch", "head", "all", "last1")
PATCHES = ("lora:2+norm", "compacter:4", "ia3+tokens:2", "scale_shift+bias")


def main(folder):
    answers = {}
    for objective, pretrainer in (("causal", kp.CausalPretrainer), ("masked", kp.MaskedPretrainer)):
        backbone = kp.Backbone(
            len(ITEMS) + 4, hidden_dim=4, dilations=(1, 4), causal=objective == "causal"
        )
        host = kp.Host(fill(pretrainer(backbone)), kp.Vocabulary(ITEMS), max_length=5)
        host.save(folder / objective / "host")
        for number, method in enumerate(METHODS):
            for kind in ("recommend", "classify"):
                task = make_task(host, method, kind, number)
                name = f"{objective}/{method}-{kind}"
                task.save(folder / name, host)
                answers[name] = np.asarray(task.model(np.array(HISTORIES))).tolist()
        for number, patch in enumerate(PATCHES):
            task = make_task(host, "patch", "classify", number, patch, summary=9, window=3)
            name = f"{objective}/{patch.replace(':', '-').replace('+', '-')}"
            task.save(folder / name, host)
            answers[name] = np.asarray(task.model(np.array(HISTORIES))).tolist()
    (folder / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


def make_task(host, method, kind, seed, patch=None, **summary):
    head = kp.RecommenderHead(len(TARGETS)) if kind == "recommend" else kp.ClassifierHead(2)
    bottleneck = kp.Bottleneck(2, ("parallel", "serial_single")[seed % 2], bool(seed // 2))
    task = kp.build_task(host.backbone, head, method, patch or bottleneck, **summary)
    if method in ("all", "last1"):
        fill(task, seed + 1, task.trainable_weights)
    else:
        fill(task, seed + 1, task.task_weights().values())
    if kind == "recommend":
        return kp.Task(task, method, targets=kp.Vocabulary(TARGETS, special_ids=False))
    return kp.Task(task, method, classes=["a", "b"], settings={"seed": seed})


def fill(model, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    for weight in model.weights if weights is None else weights:
        if "seed" not in weight.name:
            weight.assign(rng.normal(0.0, 0.5, tuple(weight.shape)))
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]))
