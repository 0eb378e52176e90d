"""Sums the gradients of single rows of a table. Needs TensorFlow.

A table that is read at N ids has a gradient of N rows, one for each id, so a table row
occurs as often as its id. `total_rows` and `single_rows` have static shapes, so that XLA can
compile them: the number of different rows is not known then, and N rows go in and come out.
"""

import tensorflow as tf

from keras_peterrec.types import Tensor


def distinct_rows(gradient: Tensor):
    """Sums the gradient rows of each table row. XLA cannot compile this.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        The different row numbers `[U]` and their totals `[U, ...]`.
    """
    rows, places = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))


def total_rows(gradient: Tensor):
    """Sums the gradient rows of each table row and gives every one of them the sum.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        Row numbers `[N]`, sorted, and totals `[N, ...]`. A table row that occurs k times
        appears k times with the same total. So whatever is computed from such a pair may be
        written to the table in any order, without knowing which of the k comes last.
    """
    rows, runs, sums = _sorted_sums(gradient)
    return rows, tf.gather(sums, runs)


def single_rows(gradient: Tensor):
    """Sums the gradient rows of each table row into the first; the others become zero.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        tf.IndexedSlices of N rows, equal to `gradient` as a dense tensor. Its values have
        the same norm and extremes as that dense tensor, which is what clipping needs.
    """
    rows, runs, sums = _sorted_sums(gradient)
    first = tf.concat([[True], runs[1:] != runs[:-1]], axis=0)[: tf.size(runs)]
    first = tf.reshape(first, [-1] + [1] * (sums.shape.rank - 1))
    # `where` rather than a product: 0 · NaN would be NaN in rows that should be zero.
    values = tf.where(first, tf.gather(sums, runs), tf.zeros((), sums.dtype))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def _sorted_sums(gradient):
    """Sorts the rows of a gradient and sums each run of equal ones.

    Returns:
        Row numbers `[N]`, sorted; for each of them the number of its run `[N]`; the sums of
        the runs `[N, ...]`, zero beyond the last run.
    """
    # One int64 key of row and position sorts faster than an argsort. The run numbers, put back
    # into the order of the gradient, then sum its values without a permuted copy of them.
    count = tf.size(gradient.indices, out_type=tf.int64)
    keys = tf.sort(tf.cast(gradient.indices, "int64") * count + tf.range(count))
    rows, positions = keys // count, keys % count
    steps = tf.cumsum(tf.cast(rows[1:] != rows[:-1], "int32"))
    runs = tf.concat([[0], steps], axis=0)[:count]
    numbers = tf.scatter_nd(positions[:, None], runs, [count])
    sums = tf.math.unsorted_segment_sum(gradient.values, numbers, count)
    return tf.cast(rows, gradient.indices.dtype), runs, sums
