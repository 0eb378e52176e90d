"""How fast this machine multiplies matrices. Needs TensorFlow."""

import statistics
import time

import numpy as np
import tensorflow as tf

from keras_peterrec.benchmarks.matmul_shapes import SQUARE


def matmul_seconds(tokens, channels, compute_dtype="float32", repeats=5):
    """Seconds of a convolution's three products and of a large square one.

        forward          [N, 3C] × [3C, C]
        input_gradient   [N, C] × [C, 3C]
        kernel_gradient  [3C, N] × [N, C]
        square           [2048, 2048] × [2048, 2048], float32

    Each is the best of what is at hand, NumPy and TensorFlow, by the median of a few.

    Args:
        tokens: int. Positions N of a step.
        channels: int. Channels C.
        compute_dtype: str. Also tried, where it is not float32.
        repeats: int. Defaults to `5`.

    Returns:
        dict of seconds by name.
    """
    shapes = {
        "forward": (tokens, 3 * channels, channels),
        "input_gradient": (tokens, channels, 3 * channels),
        "kernel_gradient": (3 * channels, tokens, channels),
    }
    seconds = {
        name: min(_median(product, repeats) for product in _products(shape, compute_dtype))
        for name, shape in shapes.items()
    }
    square = _products((SQUARE, SQUARE, SQUARE), "float32")
    return {**seconds, "square": min(_median(product, 1) for product in square)}


def _products(shape, compute_dtype):
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    a = rng.standard_normal((rows, inner), "float32")
    b = rng.standard_normal((inner, columns), "float32")
    yield lambda: a @ b
    for dtype in dict.fromkeys(("float32", compute_dtype)):
        left, right = tf.constant(a, dtype), tf.constant(b, dtype)
        yield lambda left=left, right=right: tf.matmul(left, right).numpy()


def _median(function, repeats):
    function()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
