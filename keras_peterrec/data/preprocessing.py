"""From rows of ids to what a model reads: the same code trains and serves."""

import tensorflow as tf

from keras_peterrec.data.special_ids import PAD


def left_pad(rows, max_length, fixed=False):
    """Keeps the last `max_length` ids of each row and pads on the left.

    Args:
        rows: Ragged integer tensor, `[B, (n)]`.
        max_length: int.
        fixed: bool. Whether every batch is `max_length` wide, rather than as wide
            as its longest row. Defaults to `False`.

    Returns:
        int32 tensor `[B, L]`, L at least 1.
    """
    rows = tf.cast(rows[:, -max_length:], tf.int32)
    lengths = tf.cast(rows.row_lengths(), tf.int32)
    width = max_length if fixed else tf.maximum(tf.reduce_max(lengths), 1)
    right_padded = rows.to_tensor(PAD, shape=[None, max_length])[:, :width]
    source = tf.range(width)[tf.newaxis] - (width - lengths)[:, tf.newaxis]
    moved = tf.gather(right_padded, tf.maximum(source, 0), batch_dims=1)
    return tf.where(source < 0, PAD, moved)


def gather_rows(items, starts, stops):
    """Ragged rows `items[start:stop]`, `[B, (n)]`, of a flat tensor `[N]`."""
    starts, stops = tf.cast(starts, tf.int64), tf.cast(stops, tf.int64)
    return tf.gather(items, tf.ragged.range(starts, stops))


def split_history(history, table):
    """Ids of the white-space separated items of each string.

    Args:
        history: string tensor `[B]`.
        table: Lookup table from item to id.

    Returns:
        Ragged int64 tensor `[B, (n)]`.
    """
    return tf.ragged.map_flat_values(table.lookup, tf.strings.split(history))
