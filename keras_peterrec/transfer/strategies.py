"""Ways to carry a host over to a task: the paper's method and what it is compared with."""

from typing import Any

import keras
import numpy as np

from keras_peterrec.errors import refuse
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.vocabulary import MASK, UNK
from keras_peterrec.network.network import Network
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.settings.transfer import DEFAULT_PATCH, METHODS
from keras_peterrec.transfer.patched_host import PatchedHost
from keras_peterrec.transfer.task_model import TaskModel

# Methods whose tasks use the host itself. The others have a host of their own.
SHARED_HOST = ("patch", "head")
# Of Adam, where a run does not say another. For `patch` and `all`, 3e-4 and 3e-3 were no better on
# the validation users of four tasks of MovieLens-100K; for the others they were not tried.
LEARNING_RATES = {**dict.fromkeys(METHODS, 1e-3), "head": 5e-3}


def trained_parts(method: str) -> dict[str, Any]:
    """What a method trains: the arguments `train_host` and `train_token` of a TaskModel."""
    if method not in METHODS:
        refuse("method", f"one of {', '.join(METHODS)}", method)
    last = {"last1": 1, "last2": 2}
    train_host = last.get(method, method in ("all", "scratch"))
    return {"train_host": train_host, "train_token": method != "head"}


def build_task(
    host: Network,
    head: keras.layers.Layer,
    method: str = "patch",
    patch: PatchMethod | str | None = None,
    dropout: float = 0.0,
    name: str = "task",
    history_length: int | None = None,
    window: int | None = None,
    own_fields: EventFields = EventFields(),
) -> TaskModel:
    """Builds the task model of a method.

    | method | paper | trained beside the head and, but for `head`, the task token |
    |---|---|---|
    | `patch` | PeterRec | patches; the host is shared and frozen |
    | `all` | FineAll | all of a copy of the host |
    | `head` | FineCLS | nothing; the host is shared, host and task token are frozen |
    | `last1`, `last2` | FineLast1, 2 | the last one or two layers of a copy |
    | `scratch` | FineZero | all of a randomly initialised host |
    | `random_host` | PeterZero | patches in a random, frozen host |

    On a pretrained host the task token starts as an embedding of the host: that of the unknown
    item (causal) or of the mask, which pretraining taught to stand for what is asked. Under `head`
    it stays so: the state of a user never changes and is computed once; see `head_model`. The
    others but those with several tokens start with the same states.

    Args:
        host: Network. It is not changed, and neither is its `trainable`; under `patch` and
            `head` the task model shares it.
        head: Layer. New, for this task.
        method: str. One of `METHODS`. Defaults to `"patch"`.
        patch: PatchMethod, str or `None`. A patch method or its short name, for `patch` and
            `random_host`. Defaults to `None`, which is `DEFAULT_PATCH`: the paper's
            bottleneck and a low-rank change of the item table.
        dropout: float. Rate of the dropout on the user's state. Defaults to `0.0`.
        name: str. Name of the model. Defaults to `"task"`.
        history_length: int or `None`. See `TaskModel`. Defaults to `None`.
        window: int or `None`. See `TaskModel`. Defaults to `None`.
        own_fields: EventFields. See `TaskModel`. Defaults to `EventFields()`, none.

    Returns:
        TaskModel. Not compiled.

    Raises:
        InputError: `host` is no Network, `head` is no Layer, or `method` or `patch` is unknown or
            does not fit the host.

    Example:

    >>> task = build_task(host.backbone, LinearHead(3), "patch", "bottleneck:8")
    >>> task.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    Source: Yuan et al., SIGIR 2020, section 4.3 and 4.4.
    """
    if not isinstance(host, Network):
        refuse("host", "a Network, such as `Host.load(folder).backbone`", host)
    if not isinstance(head, keras.layers.Layer):
        refuse("head", "a Keras layer, such as `LinearHead(classes)`", head)
    trained = trained_parts(method)
    if method not in ("patch", "random_host"):
        patch = None
    elif patch is None:
        patch = DEFAULT_PATCH
    if method in ("scratch", "random_host"):
        host = type(host).from_config(host.get_config())
    elif method not in SHARED_HOST:
        host = host.copy()
    trained["own_fields"] = own_fields
    model = TaskModel(host, head, patch, dropout, name, history_length, window, **trained)
    if method not in ("scratch", "random_host"):
        model.task_token.token.assign(host.item_embedding.embeddings[what_is_asked(host)])
    return model


def what_is_asked(host: Network) -> int:
    """The id of the embedding that pretraining taught to stand for what is not shown."""
    return UNK if host.causal else MASK


def starts_as_head(model: TaskModel, method: str) -> bool:
    """Whether a new task model of a method finds the same states of users as the method `head`.

    It does on a pretrained host, but for patches with a skip of their own that stands for something
    new (`inner_skip` in `parallel`). One history tells.
    """
    if method not in ("patch", "all", "last1", "last2"):
        return False
    host = model.host
    history = np.arange(1, min(host.vocabulary_size, 16))[None]
    plain = PatchedHost(host, None, model.window)
    plain.build((None, None))
    plain.task_token.token.assign(model.task_token.token)
    of_plain = plain(history, training=False)
    return np.allclose(np.asarray(model.user_states(history)), np.asarray(of_plain), atol=1e-3)
