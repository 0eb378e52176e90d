"""A small host, and small tasks of every kind, with random weights."""

import json

import numpy as np
import numpy_reference as reference

from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.models.pretrainer import CausalPretrainer, MaskedPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.tasks.multilabel import Multilabel
from keras_peterrec.tasks.recommendation import Recommendation
from keras_peterrec.tasks.regression import Regression
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

ITEMS = [f"item{n}" for n in range(12)]
TARGETS = ["film", "book", "song", "game", "play"]
KINDS = {
    "recommendation": Recommendation(Vocabulary(TARGETS, special_ids=False)),
    "classification": Classification(["a", "b", "ü"]),
    "multilabel": Multilabel(["news", "sports"]),
    "regression": Regression("spend", mean=1 / 3, deviation=2**0.5),
}

# A patch of every method, and several in several places.
EVERY_PATCH = (
    "bottleneck:2",
    "compacter:4",
    "lora:2",
    "ia3",
    "scale_shift",
    "bias",
    "norm",
    "item_bottleneck:2",
    "item_lora:2",
    "bottleneck:2+item_lora:2,rows=9+item_bottleneck:2",
)


def make_host(causal=True, seed=0, dilations=(1,), fields=None, **arguments):
    backbone = ConvolutionNetwork(len(ITEMS) + 4, 8, dilations, causal=causal, fields=fields)
    pretrainer = (CausalPretrainer if causal else MaskedPretrainer)(backbone, **arguments)
    return Host(reference.randomise(pretrainer, seed), Vocabulary(ITEMS), max_length=6)


def make_task(
    host,
    kind="classification",
    method="patch",
    patch="bottleneck:3,serial",
    seed=0,
    settings=None,
    **reads,
):
    """A task whose own weights, and those of its copy of the host, are random.

    Args:
        host: Host.
        kind: str, one of `KINDS`, or a TaskKind.
        method, patch: as `build_task` takes them.
        seed: int. Of the weights.
        settings: dict. Defaults to `None`, none.
        reads: `history_length` and `window`, as `build_task` takes them.
    """
    kind = KINDS[kind] if isinstance(kind, str) else kind
    model = build_task(host.backbone, kind.new_head(), method, patch, **reads)
    rng = np.random.default_rng(seed)
    own = {id(w): w for w in (*model.task_weights().values(), *model.trainable_weights)}
    for weight in own.values():
        weight.assign(rng.normal(0.3, 0.4, weight.shape))
    return Task(model, method, kind, settings or {})


def scores(task, histories):
    """What a task says of histories, an array `[B, n]`."""
    return task.scores(histories)


def edit(file, **changes):
    """Changes keys of a JSON file; `...` takes a key away."""
    content = {**json.loads(file.read_text()), **changes}
    content = {key: value for key, value in content.items() if value is not ...}
    file.write_text(json.dumps(content))


def damage(file, how):
    """Takes a file away (`missing`), or leaves nothing, half or no text of it."""
    content = file.read_bytes()
    left = {"empty": b"", "half": content[: len(content) // 2], "binary": b"\xff\x00\n" * 9}
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(left[how])
