"""A model's outputs for many histories."""

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_peterrec.log.batches import history_batches
from keras_peterrec.progress import each
from keras_peterrec.types import AnyPath, Tensor

# Tokens in one batch of inference, at most. This bounds the memory at any length, and keeps
# batches so small that all histories of one batch have nearly the same length.
TOKENS = 16_384

# {object: {its method: traced}}; an entry disappears with its object. See `traced`.
_TRACED = weakref.WeakKeyDictionary()


def outputs_of(
    function: Callable[..., Tensor],
    items: np.ndarray,
    starts: ArrayLike,
    stops: ArrayLike,
    max_length: int,
) -> np.ndarray:
    """Applies a function of ids `[B, L]` to many histories, batch by batch.

    A batch holds histories of similar length, so little padding is computed. The
    outputs are right for any function that ignores padding.

    Args:
        function: Callable from int32 `[B, L]` or, where items are rows of events, `[B, L, 1 + F]`
            to a tensor `[B, ...]`.
        items, starts, stops, max_length: See `history_batches`.

    Returns:
        float32 array `[E, ...]`, in the order of the histories.
    """
    starts, stops = np.asarray(starts), np.asarray(stops)
    order = np.argsort(np.minimum(stops - starts, max_length), kind="stable")
    rows = max(1, TOKENS // max_length)
    batches = history_batches(items, starts[order], stops[order], max_length, rows)
    outputs = None
    count = -(-len(order) // rows)
    for number, history in enumerate(each(batches, "asking the network", total=count)):
        answers = traced(function, *history.shape[2:])(history).numpy()
        if outputs is None:
            outputs = np.empty((len(order), *answers.shape[1:]), answers.dtype)
        outputs[order[number * rows : number * rows + len(answers)]] = answers
    return outputs


def traced(function: Callable[..., Tensor], *columns: int) -> Any:
    """Compiles a function of integers to a graph, once for each function.

    Every epoch validates, and tracing a model takes longer than running it. The graph
    is kept as long as the function lives; for a method, as long as its object lives.

    Args:
        function: Callable from one or more int32 `[B, L]`, its arguments without a default, to a
            tensor; often a method of a model.
        *columns: int. 1 + F, where the first argument is rows of events, `[B, L, 1 + F]`. Defaults
            to none.

    Returns:
        tf.function of the same arguments.
    """
    owner, method = getattr(function, "__self__", function), getattr(function, "__func__", None)
    graphs = _TRACED.setdefault(owner, {})
    if (method, columns) not in graphs:
        # The graph must not hold the object that it is kept for: a weak key whose value
        # refers to it is never dropped. (Each access to a method makes a new object of it,
        # hence `WeakMethod`.)
        weak = weakref.ref(function) if method is None else weakref.WeakMethod(function)

        def call(*ids):
            return weak()(*ids)

        taken = inspect.signature(function).parameters.values()
        count = sum(argument.default is argument.empty for argument in taken)
        signature = [tf.TensorSpec([None, None], tf.int32)] * count
        signature[0] = tf.TensorSpec([None, None, *columns], tf.int32)
        # Rewriting Python for AutoGraph takes a while at a command's start, and nothing here
        # branches on a tensor: exports and `fit` do without as well.
        traced_call = tf.function(call, input_signature=signature, autograph=False)
        graphs[method, columns] = traced_call
    return graphs[method, columns]


def write_graph(function: Callable[..., Tensor], folder: AnyPath) -> None:
    """Writes the graph of a function of ids for TensorBoard.

    Keras' own TensorBoard callback does not find the graph of its training function.

    Args:
        function: see `traced`.
        folder: path. The folder of TensorBoard's logs.
    """
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.graph(traced(function).get_concrete_function().graph)
