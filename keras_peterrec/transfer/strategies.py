"""Ways to carry a host over to a task."""

from keras_peterrec.errors import InputError
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.transfer.task_model import TaskModel

# method -> the paper's name and what is trained beside the head and the token
METHODS = {
    "patch": ("PeterRec", "the patches; the host is shared and frozen"),
    "all": ("FineAll", "all of a copy of the host"),
    "head": ("FineCLS", "nothing else; the host is shared and frozen"),
    "last1": ("FineLast1", "the last convolution of a copy of the host"),
    "last2": ("FineLast2", "the last two convolutions of a copy of the host"),
    "scratch": ("FineZero", "all of a randomly initialised host"),
    "random_host": ("PeterZero", "patches in a randomly initialised, frozen host"),
}
SHARED_HOST = ("patch", "head")


def check_method(method):
    """Refuses a `method` that is none of `METHODS`."""
    if method not in METHODS:
        raise InputError(
            f"`method` should be one of {', '.join(METHODS)}. Received: `method` = {method!r}."
        )


def build_task(host, head, method="patch", patch=None, dropout=0.0, name="task"):
    """A task model whose trainable parts are those of a method.

    | method | paper | trained beside head and task token |
    |---|---|---|
    | `patch` | PeterRec | patches; the host is shared and frozen |
    | `all` | FineAll | all of a copy of the host |
    | `head` | FineCLS | nothing; the host is shared and frozen |
    | `last1`, `last2` | FineLast1, 2 | the last one or two convolutions of a copy |
    | `scratch` | FineZero | all of a randomly initialised host |
    | `random_host` | PeterZero | patches in a random, frozen host |

    Args:
        host: Backbone. Its weights are never changed; under `patch` and `head`
            it is used as it is, with `trainable` set to `False`.
        head: Layer, new.
        method: str. Defaults to `"patch"`.
        patch: Patch settings, for `patch` and `random_host`. Defaults to
            `Bottleneck()`.
        dropout: float. On the user's state. Defaults to `0.0`.
        name: str.

    Returns:
        TaskModel, not compiled.

    Raises:
        InputError: `method` is unknown.

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
    set_trainable(host, method)
    return TaskModel(host, head, patch, dropout, name=name)


def set_trainable(host, method):
    """Freezes what a method does not train of its host."""
    if method in ("last1", "last2"):
        train_last_convolutions(host, int(method[-1]))
    else:
        host.trainable = method in ("all", "scratch")


def train_last_convolutions(host, count):
    """Freezes a host but for its last `count` convolutions and their norms."""
    pairs = [
        pair for block in host.blocks for pair in zip(block.convolutions, block.norms)
    ]
    host.item_embedding.trainable = False
    for index, pair in enumerate(pairs):
        for layer in pair:
            layer.trainable = index >= len(pairs) - count
