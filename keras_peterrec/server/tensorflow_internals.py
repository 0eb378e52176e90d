"""What the server uses of TensorFlow that is not public.

`tests/server/test_internals.py` fails when TensorFlow changes it.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

_CALLING_THREAD = -1  # in place of the number of one of TensorFlow's thread pools


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
def quiet_loader():
    """Drops the advice to use TensorFlow's other loader, whose calls take twice as long."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)
