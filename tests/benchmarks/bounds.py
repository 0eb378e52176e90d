"""What bounds a training step on this machine: a worker that does only part of its work.

    python tests/benchmarks/train.py --reference tests/benchmarks/bounds.py \
        --reference-variant products --reference-variant square --reference-variant copy

Its sides take turns with ours; `times ours` is then the share of the bound that we reach.

    products   the step's operations, at the rate of a convolution's own three matrix products
    square     the same, at the rate of a square product of 2,048 in float32
    copy       the step's bytes, by the estimate of `bytes_moved`, at the rate of a large copy

The larger of `products` and `copy` bounds a step that overlaps neither with caches.
"""

import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from keras_peterrec.benchmarks.worker import peak_bytes, serve

SQUARE = 2048
COPIED_BYTES = 256 * 2**20
THREADS = 8


def scored(configuration):
    """Columns S of the loss's score matrix `[N, S]`."""
    columns = {"backbone": 0, "sampled": configuration["negatives"], "full": configuration["items"]}
    return columns[configuration["loss"]]


def tokens(configuration):
    """Positions N = B · L of a step."""
    return configuration["batch_size"] * configuration["length"]


def operations(configuration):
    """Floating-point operations of the matrix products of a step.

        3 · 2 · N · 2·blocks · 3C²  +  3 · 2 · N · S · C

    2 for a multiplication and an addition; 3 for the product forwards and the two backwards;
    2·blocks convolutions of 3C² weights; S scores a position.
    """
    channels = configuration["hidden_dim"]
    convolutions = 2 * configuration["blocks"] * 3 * channels**2
    return 3 * 2 * tokens(configuration) * (convolutions + scored(configuration) * channels)


def bytes_moved(configuration):
    """An estimate of the bytes that a step moves to and from memory.

        w · N · C · 2·blocks · 6  +  4 · P · 10  +  4 · R · C · 9  +  4 · N · S · 4

    w is the width of an activation (4 or 2 bytes). A convolution with all that follows it reads
    its input and writes its output, and backwards reads the input, the output and the output's
    gradient and writes the input's gradient: 6. Each of the P weights of the blocks is read
    forwards and backwards, its gradient written, and Adam reads gradient, weight and two moments
    and writes three: 10. Of the tables only the R distinct rows of a step count, read once: 9.
    Scores and their gradient are each written and read: 4. Caches may spare some of it.
    """
    items, channels, blocks = (configuration[n] for n in ("items", "hidden_dim", "blocks"))
    n, loss = tokens(configuration), configuration["loss"]
    width = 4 if configuration["precision"] == "float32" else 2
    rows = expected_rows(items, n)
    if loss == "sampled":
        rows += expected_rows(items, n + configuration["negatives"])
    if loss == "full":
        rows += items
    return int(
        width * n * channels * 2 * blocks * 6
        + 4 * 2 * blocks * (3 * channels**2 + 3 * channels) * 10
        + 4 * rows * channels * 9
        + 4 * n * scored(configuration) * 4
    )


def expected_rows(items, draws):
    """Distinct items expected among `draws` log-uniform ones."""
    item = np.arange(items, dtype="float64")
    return float(-np.expm1(draws * np.log1p(-np.log1p(1 / (item + 1)) / np.log(items + 1))).sum())


def product_seconds(shapes, dtypes, repeats=5):
    """Seconds of matrix products `[a, b] × [b, c]`: NumPy's or TensorFlow's, whichever is less.

    Args:
        shapes: list of (a, b, c).
        dtypes: list of str. What TensorFlow computes in.
        repeats: int. The median of so many counts. Defaults to `5`.

    Returns:
        list of float.
    """
    seconds = []
    for a, b, c in shapes:
        left, right = np.ones((a, b), "float32"), np.ones((b, c), "float32")
        ways = [lambda: left @ right]
        for dtype in dtypes:
            x, y = tf.constant(left, dtype), tf.constant(right, dtype)
            ways.append(lambda x=x, y=y: tf.matmul(x, y).numpy())
        seconds.append(min(median_seconds(way, repeats) for way in ways))
    return seconds


def median_seconds(function, repeats):
    function()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def copy_rate(repeats=5):
    """Bytes a second, read and written, of a large copy by several threads."""
    source = np.ones(COPIED_BYTES, "uint8")
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, THREADS), np.array_split(source, THREADS)))
    with ThreadPoolExecutor(THREADS) as threads:
        copy = lambda: list(threads.map(lambda part: np.copyto(*part), parts))
        return 2 * COPIED_BYTES / median_seconds(copy, repeats)


def bound_seconds(configuration, variant):
    """The least time of a step by one of the bounds."""
    if variant == "copy":
        return bytes_moved(configuration) / copy_rate()
    dtypes = {"float32", configuration["precision"].removeprefix("mixed_")}
    n, channels = tokens(configuration), configuration["hidden_dim"]
    if variant == "square":
        shapes, dtypes = [(SQUARE, SQUARE, SQUARE)], {"float32"}
    else:  # forwards, the input's gradient, the kernel's
        shapes = [(n, 3 * channels, channels), (n, channels, 3 * channels)]
        shapes.append((3 * channels, n, channels))
    done = sum(2 * a * b * c for a, b, c in shapes)
    return operations(configuration) / done * sum(product_seconds(shapes, sorted(dtypes)))


def start():
    configuration = json.loads(sys.argv[1])
    variant = configuration["variant"]
    if variant not in ("products", "square", "copy"):
        refused = f"the variant should be products, square or copy, not {variant}"
        return {"refused": refused}, {}

    def run(steps):
        milliseconds = [1e3 * bound_seconds(configuration, variant)]
        return {"milliseconds": milliseconds, "peak_bytes": peak_bytes(), "loss": 0.0}

    start_bytes = peak_bytes()
    run(1)
    return {"name": f"bounds {variant}", "start_bytes": start_bytes}, {"run": run}


if __name__ == "__main__":
    serve(start)
