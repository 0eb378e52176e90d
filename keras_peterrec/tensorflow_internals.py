"""Every private part of TensorFlow that training and the server use, and why.

`tests/test_tensorflow_internals.py` and `tests/server/test_internals.py` say whether a new release
has changed them.
"""

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import absl.logging
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context as eager_context

_CALLING_THREAD = -1  # in place of the number of one of TensorFlow's thread pools


@contextlib.contextmanager
def global_seed(seed):
    """Sets TensorFlow's global seed within a block.

    After the block, the caller's random numbers continue where they were. No public
    way: `tf.random.set_seed` restarts the caller's sequence, also that of operations
    with a seed of their own, and nothing public reads the position in it.

    Raises:
        RuntimeError: TensorFlow keeps its seed elsewhere.
    """
    context = eager_context.context()
    if not hasattr(context, "_seed"):
        raise RuntimeError(
            "keras_peterrec sets TensorFlow's global seed in `context()._seed`, which TensorFlow "
            f"{tf.__version__} does not have. Install TensorFlow 2.21 or a newer keras_peterrec."
        )
    # TensorFlow makes `_rng`, which draws the seeds of operations, with the first seed.
    before = context._seed, getattr(context, "_rng", None)
    context._seed, context._rng = seed, random.Random(seed)
    try:
        yield
    finally:
        context._seed, context._rng = before


def make_callable(
    session: Any, feeds: Sequence[str], fetches: Sequence[str], on_calling_thread: bool = False
) -> Callable[..., Any]:
    """Returns a function from arrays to arrays inside a session.

    The public `Session.make_callable` is slower where there are feeds: it goes through
    `Session.run`, half a millisecond of Python a call, and it checks shapes that TensorFlow
    Serving leaves to the graph. `Session._make_callable_from_options` is what Keras 2 used.

    Args:
        session: `tf.compat.v1.Session`.
        feeds: list of str. Names of tensors, in the order of the arguments.
        fetches: list of str. Names of tensors, in the order of the results.
        on_calling_thread: bool. Whether the graph runs on the thread that calls it, and not on
            TensorFlow's own. Defaults to `False`.
    """
    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    if on_calling_thread:
        options.run_options.inter_op_thread_pool = _CALLING_THREAD
    return session._make_callable_from_options(options)


@contextlib.contextmanager
def quiet_tensorflow():
    """Drops what TensorFlow's Python logs but for errors, which a notebook shows otherwise.

    That is where the assets of a SavedModel were written, and the advice to use the other loader,
    whose calls take twice as long.
    """
    loggers = tf.get_logger(), absl.logging.get_absl_logger()
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel("ERROR")
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
