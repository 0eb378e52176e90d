"""Gradients of a few rows of a table, every row once. Needs TensorFlow.

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
    rows, run, values = _runs(gradient)
    sums = tf.math.unsorted_segment_sum(values, run, tf.size(run))
    return rows, tf.gather(sums, run)


def single_rows(gradient):
    """Sums the gradient rows of the same table row; the first carries it, the rest zero.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        tf.IndexedSlices of N rows, equal as a dense tensor, whose values have the
        norm and the extremes of that dense tensor.
    """
    rows, run, values = _runs(gradient)
    sums = tf.math.unsorted_segment_sum(values, run, tf.size(run))
    first = tf.concat([[True], run[1:] != run[:-1]], axis=0)[: tf.size(run)]
    first = tf.reshape(first, [-1] + [1] * (len(values.shape) - 1))
    values = tf.where(first, tf.gather(sums, run), tf.zeros((), values.dtype))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def _runs(gradient):
    """Sorts the rows: rows `[N]`, number of its run of equals `[N]`, values `[N, ...]`."""
    order = tf.argsort(gradient.indices, stable=True)
    rows = tf.gather(gradient.indices, order)
    steps = tf.cumsum(tf.cast(rows[1:] != rows[:-1], "int32"))
    run = tf.concat([[0], steps], axis=0)[: tf.size(rows)]
    return rows, run, tf.gather(gradient.values, order)
