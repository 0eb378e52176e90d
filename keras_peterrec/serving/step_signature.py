"""A signature that takes one event of a user: a state goes in, a new state comes out."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from keras_peterrec.log.event_text import UserReader, split_items
from keras_peterrec.log.preprocessing import event_counts, left_pad
from keras_peterrec.serving.signature_names import STATE, STEP
from keras_peterrec.serving.signatures import concrete
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.incremental_task import IncrementalTask
from keras_peterrec.transfer.task import Task
from keras_peterrec.types import Tensor

_TAG_BYTES = 8


def step_signature(
    host: Host,
    read: Callable[..., Any],
    read_user: UserReader | None,
    task: Task,
    answer: Callable[..., Any],
) -> Any:
    """The concrete function of a user's state and one event; its cost does not depend on the past.

    | input | |
    |---|---|
    | `state_bytes` | string `[B]`, from the last answer; `""` for a new user |
    | `item` | string `[B]`, the new event; `""` if there is none |
    | `seen` | string `[B]`, item ids of the history, separated by spaces; may be `""` |

    | output | |
    |---|---|
    | `state_bytes` | string `[B]`, for the next event; REST writes it in base64 |
    | `events`, `known_events` | int32 `[B]`, 1 if there is an event, and if its item is known |
    | the others | as of the task's own signature |

    Where the task leaves out what a user had, the answer has no item of `seen`. The server keeps
    nothing, nor what is known of the user: that stands behind every event, `"i9 ;plan=gold"`. The
    client keeps the state, 32 KB for each user and task at 64 channels and 8 blocks; see
    `IncrementalTask` for what it is. It ends in a mark of the weights that made it, so that a state
    of another task or of other weights fails the request.

    Args:
        read: reads texts as an EventReader of what the task reads.
        read_user: `None` where the task reads no columns of users.
        answer: Callable of scores and the items seen; see `ExportedAnswers`.

    Raises:
        InputError: the task's host is not causal.
    """
    steps = IncrementalTask(task.model)
    tag, shape = _tag(host, task), steps.state_shape

    def step(state_bytes, item, seen):
        _, ids, rows = read(item)
        event = left_pad(rows, 1, fixed=True)[:, 0]  # padding where there is none, or unknown
        state = tf.cast(_read(state_bytes, shape, tag), steps.start(0).dtype)
        told = None if read_user is None else read_user(item)
        state, scores = steps.step(state, event, told)
        written = _written(tf.cast(state, tf.float32), shape, tag)
        return {**answer(scores, split_items(seen)), **event_counts(ids), STATE: written}

    return concrete(step, STEP)


def state_array(state_bytes: Tensor):
    """The numbers in a state, float32 `[S * C]`."""
    return np.frombuffer(state_bytes[:-_TAG_BYTES], "<f4")


def _tag(host, task):
    """A mark made of all the weights that a state depends on."""
    digest = hashlib.sha256(host.fingerprint().encode())
    # The head and the linear part read the state, and change nothing in it.
    readers = ("head/", "linear/", "user_fields/")
    weights = {p: w for p, w in task.model.task_weights().items() if not p.startswith(readers)}
    if task.model.host is not host.backbone:
        weights |= task.model.host.named_weights()
    for path, weight in sorted(weights.items()):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()[:_TAG_BYTES].encode()


def _read(state_bytes, shape, tag):
    """The states `[B, S, C]` that `_written` wrote; zeros for empty strings."""
    size = 4 * shape[0] * shape[1]
    length = tf.strings.length(state_bytes)
    # The mark is also put in front, so that an empty string ends in the right 8 bytes.
    end = tf.strings.substr(tf.strings.join([tag, state_bytes]), -_TAG_BYTES, _TAG_BYTES)
    whole = ((length == 0) | (length == size + _TAG_BYTES)) & (end == tag)
    check = tf.debugging.Assert(
        tf.reduce_all(whole),
        [f"`{STATE}` should be empty, or what this task answered last. Received: other bytes."],
    )
    with tf.control_dependencies([check]):
        numbers = tf.io.decode_raw(state_bytes, tf.float32, fixed_length=size)
    return tf.reshape(numbers, [-1, *shape])


def _written(state, shape, tag):
    """The numbers of each row as bytes, and the mark."""
    size = 4 * shape[0] * shape[1]
    rows = tf.map_fn(
        tf.io.serialize_tensor, state, fn_output_signature=tf.TensorSpec([], tf.string)
    )
    # TensorFlow writes a tensor's numbers last, after its type and shape.
    return tf.strings.join([tf.strings.substr(rows, -size, size), tag])
