"""Task bundles to read, to damage and to change."""

import json

import numpy as np

from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

TARGETS = ["film", "book", "song", "game", "play"]


def make_task(
    host,
    method="patch",
    kind="recommend",
    patch=Bottleneck(3, "serial"),
    summary=True,
    window=None,
    **settings,
):
    head = RecommenderHead(len(TARGETS)) if kind == "recommend" else ClassifierHead(3)
    model = build_task(host.backbone, head, method, patch, summary=summary, window=window)
    for seed, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(seed).normal(0, 0.3, weight.shape))
    if kind == "recommend":
        targets = Vocabulary(TARGETS, special_ids=False)
        return Task(model, method, targets=targets, settings=settings)
    return Task(model, method, classes=["a", "b", "ü"], settings=settings)


def edit(folder, **changes):
    content = json.loads((folder / "task.json").read_text())
    content.update(changes)
    content = {key: value for key, value in content.items() if value is not ...}
    (folder / "task.json").write_text(json.dumps(content))
