"""Ways to carry a host over to a task."""

from keras_peterrec.data.special_ids import MASK, UNK
from keras_peterrec.errors import InputError
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.transfer.task_model import TaskModel

# method -> the paper's name and what is trained beside the head
METHODS = {
    "patch": ("PeterRec", "patches and task token; the host is shared and frozen"),
    "all": ("FineAll", "task token and all of a copy of the host"),
    "head": ("FineCLS", "nothing else; the host is shared, host and task token are frozen"),
    "last1": ("FineLast1", "task token and the last convolution of a copy of the host"),
    "last2": ("FineLast2", "task token and the last two convolutions of a copy of the host"),
    "scratch": ("FineZero", "task token and all of a randomly initialised host"),
    "random_host": ("PeterZero", "patches in a randomly initialised, frozen host, and task token"),
}
SHARED_HOST = ("patch", "head")


def check_method(method):
    """Refuses a `method` that is none of `METHODS`."""
    if method not in METHODS:
        raise InputError(
            f"`method` should be one of {', '.join(METHODS)}. Received: `method` = {method!r}."
        )


def build_task(
    host, head, method="patch", patch=None, dropout=0.0, name="task", summary=False, window=None
):
    """A task model whose trainable parts are those of a method.

    | method | paper | trained beside the head and, but for `head`, the task token |
    |---|---|---|
    | `patch` | PeterRec | patches; the host is shared and frozen |
    | `all` | FineAll | all of a copy of the host |
    | `head` | FineCLS | nothing; the host is shared, host and task token are frozen |
    | `last1`, `last2` | FineLast1, 2 | the last one or two convolutions of a copy |
    | `scratch` | FineZero | all of a randomly initialised host |
    | `random_host` | PeterZero | patches in a random, frozen host |

    Under `head` the task token is the host's own embedding of an item not known: of
    the unknown item (causal) or of the mask, which pretraining taught to stand for
    what is asked. So a user's state never changes, and can be computed once: see
    `head_model`.

    Args:
        host: Backbone. Its weights are never changed; under `patch` and `head`
            it is used as it is, with `trainable` set to `False`.
        head: Layer, new.
        method: str. Defaults to `"patch"`.
        patch: PatchMethod or its short name, for `patch` and `random_host`. Defaults
            to `Bottleneck()`.
        dropout: float. On the user's state. Defaults to `0.0`.
        name: str.
        summary: bool or int. See `TaskModel`; it is trained like the head.
        window: int or `None`. See `TaskModel`.

    Returns:
        TaskModel, not compiled.

    Raises:
        InputError: `method` or `patch` is unknown, or does not fit the host.

    Source: Yuan et al., SIGIR 2020, section 4.3 and 4.4.
    """
    check_method(method)
    if method not in ("patch", "random_host"):
        patch = None
    elif patch is None:
        patch = Bottleneck()
    if method in ("scratch", "random_host"):
        host = Backbone.from_config(host.get_config())
    elif method not in SHARED_HOST:
        host = host.copy()
    model = TaskModel(host, head, patch, dropout, name=name, summary=summary, window=window)
    if method == "head":
        unknown = UNK if host.causal else MASK
        model.task_token.token.assign(host.item_embedding.embeddings[unknown])
    set_trainable(model, method)
    return model


def set_trainable(model, method):
    """Freezes what a method does not train of a task model."""
    host = model.host
    model.task_token.trainable = method != "head"
    if method in ("last1", "last2"):
        train_last_convolutions(host, int(method[-1]))
    else:
        host.trainable = method in ("all", "scratch")


def train_last_convolutions(host, count):
    """Freezes a host but for its last `count` convolutions and their norms."""
    pairs = [pair for block in host.blocks for pair in zip(block.convolutions, block.norms)]
    host.item_embedding.trainable = False
    for index, pair in enumerate(pairs):
        for layer in pair:
            layer.trainable = index >= len(pairs) - count
