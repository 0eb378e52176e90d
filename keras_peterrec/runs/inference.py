"""A model's outputs for many histories."""

import functools

import numpy as np
import tensorflow as tf

from keras_peterrec.data.batches import history_batches

# Most tokens in one batch of inference: bounded memory at any length, and batches so small
# that the histories in one are of nearly the same length.
TOKENS = 16_384


def outputs_of(function, items, starts, stops, max_length):
    """Applies a function of ids `[B, L]` to histories, batch by batch.

    A batch holds histories of similar length, so that little padding is computed; a
    function for which padding is inert answers the same.

    Args:
        function: Callable from int32 `[B, L]` to a tensor `[B, ...]`.
        items, starts, stops, max_length: see `history_batches`.

    Returns:
        float32 array `[E, ...]`, in the order of the histories.
    """
    starts, stops = np.asarray(starts), np.asarray(stops)
    order = np.argsort(np.minimum(stops - starts, max_length), kind="stable")
    rows = max(1, TOKENS // max_length)
    batches = history_batches(items, starts[order], stops[order], max_length, rows)
    outputs = None
    for number, history in enumerate(batches):
        answers = traced(function)(history).numpy()
        if outputs is None:
            outputs = np.empty((len(order), *answers.shape[1:]), answers.dtype)
        outputs[order[number * rows : number * rows + len(answers)]] = answers
    return outputs


@functools.lru_cache(maxsize=8)  # several tasks of one network take turns
def traced(function):
    """A function of ids as a graph, made once although every epoch validates."""
    return tf.function(function, input_signature=[tf.TensorSpec([None, None], tf.int32)])


def write_graph(function, folder):
    """Writes a function's graph for TensorBoard.

    Keras' own callback no longer finds the graph of its training function.
    """
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.graph(traced(function).get_concrete_function().graph)
