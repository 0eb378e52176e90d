"""One more event of a user as a signature: the state goes in and comes out."""

import hashlib

import numpy as np
import tensorflow as tf
from keras import ops

from keras_peterrec.data.special_ids import PAD
from keras_peterrec.serving.signature_names import STATE, STEP, input_names
from keras_peterrec.transfer.host import backbone_weights
from keras_peterrec.transfer.incremental_task import IncrementalTask

_TAG_BYTES = 8


def step_signature(host, source, task, targets, k):
    """A function of a user's state and one new event, at a cost no history adds to.

    | input | |
    |---|---|
    | `state_bytes` | string `[B]`, as the last answer gave it; `""` of a new user |
    | `item` | string `[B]`, the new event; `""` where there is none |
    | `seen` | string `[B]`, item ids not to recommend, as a history; may be `""` |

    | output | |
    |---|---|
    | `state_bytes` | string `[B]`, for the next event; REST writes it in base64 |
    | `items` or `classes`, `scores` | as of the task's own signature |

    The server keeps nothing: who asks keeps 30 KB for each user and task (at 64 channels
    and 8 blocks). See `IncrementalTask` for what the state is. It ends in a mark of the
    weights that made it: a state of another task or of other weights fails the request.

    Args:
        host: Host.
        source: Catalogue of the source log.
        task: Task on a causal host.
        targets: Catalogue of the target items, or `None` for a classification.
        k: int. Items of an answer.

    Returns:
        The concrete function.

    Raises:
        InputError: the task's host is not causal.
    """
    steps = IncrementalTask(task.model)
    tag, shape = _tag(host, task), steps.state_shape
    strings = [tf.TensorSpec([None], tf.string, name=name) for name in input_names(STEP)]

    @tf.function(autograph=False, input_signature=strings)
    def step(state_bytes, item, seen):
        item = tf.strings.strip(item)
        ids = tf.where(item == "", tf.cast(PAD, tf.int64), source.ids.lookup(item))
        state = tf.cast(_read(state_bytes, shape, tag), steps.start(0).dtype)
        state, scores = steps.step(state, tf.cast(ids, tf.int32))
        if targets is not None:
            answer = targets.best_unseen(scores, seen, k)
        else:
            scores, order = tf.math.top_k(tf.nn.softmax(scores), len(task.classes))
            answer = {"classes": tf.gather(tf.constant(task.classes), order), "scores": scores}
        return {**answer, STATE: _written(tf.cast(state, tf.float32), shape, tag)}

    return step.get_concrete_function()


def state_array(state_bytes):
    """The numbers of one state that a step answered, float32 `[S * C]`."""
    return np.frombuffer(state_bytes[:-_TAG_BYTES], "<f4")


def _tag(host, task):
    """A mark of all the weights that a state depends on."""
    digest = hashlib.sha256(host.fingerprint().encode())
    weights = {p: w for p, w in task.model.task_weights().items() if not p.startswith("head/")}
    if task.model.host is not host.backbone:
        weights |= backbone_weights(task.model.host)
    for path, weight in sorted(weights.items()):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()[:_TAG_BYTES].encode()


def _read(state_bytes, shape, tag):
    """States `[B, S, C]` of what `_written` wrote; zeros of empty strings."""
    size = 4 * shape[0] * shape[1]
    length = tf.strings.length(state_bytes)
    # With the mark before it as well, an empty string has a last 8 bytes, the right ones.
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
