"""Every private part of TensorFlow that training uses, and why.

`tests/test_tensorflow_internals.py` says whether a new release has changed them.
"""

import contextlib
import random

import tensorflow as tf
from tensorflow.python.eager import context as eager_context


@contextlib.contextmanager
def global_seed(seed):
    """Sets TensorFlow's global seed within a block.

    After the block, the caller's random numbers continue where they were. No public
    way: `tf.random.set_seed` restarts the caller's sequence, also that of operations
    with a seed of their own, and nothing public reads the position in it.

    Args:
        seed: int.

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
