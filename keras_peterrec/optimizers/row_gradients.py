"""Gradients of a few rows of a table, every row summed. Needs TensorFlow.

A table read at N ids has a gradient of N rows, one an id, in which a row comes as
often as its id does. What follows has static shapes, so that XLA compiles it.
"""

import tensorflow as tf


def total_rows(gradient):
    """Sums the gradient rows of the same table row; each repeat carries the sum.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        Rows `[N]`, sorted, and their totals `[N, ...]`. A row that came k times
        stands there k times with one and the same total, so whatever is computed
        from the pair may be written row by row in any order.
    """
    rows, runs, sums = _sorted_sums(gradient)
    return rows, tf.gather(sums, runs)


def single_rows(gradient):
    """Sums the gradient rows of the same table row; the first carries it, the rest zero.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        tf.IndexedSlices of N rows, equal as a dense tensor, whose values have the
        norm and the extremes of that dense tensor.
    """
    rows, runs, sums = _sorted_sums(gradient)
    first = tf.concat([[True], runs[1:] != runs[:-1]], axis=0)[: tf.size(runs)]
    first = tf.reshape(first, [-1] + [1] * (sums.shape.rank - 1))
    values = tf.where(first, tf.gather(sums, runs), tf.zeros((), sums.dtype))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def _sorted_sums(gradient):
    """Rows `[N]`, sorted; the number of each in the runs of equals `[N]`; the runs' sums."""
    # One key of row and position sorts faster than an argsort, and the numbers of the
    # runs, put back in the order of the gradient, save a permuted copy of its values.
    count = tf.size(gradient.indices, out_type=tf.int64)
    keys = tf.sort(tf.cast(gradient.indices, "int64") * count + tf.range(count))
    rows, positions = keys // count, keys % count
    steps = tf.cumsum(tf.cast(rows[1:] != rows[:-1], "int32"))
    runs = tf.concat([[0], steps], axis=0)[:count]
    numbers = tf.scatter_nd(positions[:, None], runs, [count])
    sums = tf.math.unsorted_segment_sum(gradient.values, numbers, count)
    return tf.cast(rows, gradient.indices.dtype), runs, sums
