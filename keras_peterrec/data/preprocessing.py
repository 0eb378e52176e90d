"""From rows of ids to the input of a model, with the same code in training and serving."""

import tensorflow as tf
from numpy.typing import ArrayLike

from keras_peterrec.data.vocabulary import PAD


def left_pad(rows: tf.RaggedTensor, max_length: int, fixed: bool = False) -> tf.Tensor:
    """Keeps the last `max_length` ids of each row and pads on the left.

    Args:
        rows: Ragged integer tensor, `[B, (n)]`.
        max_length: int.
        fixed: bool. Whether every batch is `max_length` wide, rather than as wide
            as its longest row. Defaults to `False`.

    Returns:
        int32 tensor `[B, L]`, L at least 1.

    Example:

    >>> left_pad(tf.ragged.constant([[7], [4, 5, 6]]), max_length=2).numpy().tolist()
    [[0, 7], [5, 6]]
    """
    rows = tf.cast(rows[:, -max_length:], tf.int32)
    lengths = tf.cast(rows.row_lengths(), tf.int32)
    width = max_length if fixed else tf.maximum(tf.reduce_max(lengths), 1)
    right_padded = rows.to_tensor(PAD, shape=[None, max_length])[:, :width]
    source = tf.range(width)[tf.newaxis] - (width - lengths)[:, tf.newaxis]
    moved = tf.gather(right_padded, tf.maximum(source, 0), batch_dims=1)
    return tf.where(source < 0, PAD, moved)


def gather_rows(items: tf.Tensor, starts: ArrayLike, stops: ArrayLike) -> tf.RaggedTensor:
    """Returns the rows `items[start:stop]`, ragged `[B, (n)]`, of a flat tensor `[N]`."""
    starts, stops = tf.cast(starts, tf.int64), tf.cast(stops, tf.int64)
    return tf.gather(items, tf.ragged.range(starts, stops))


def split_history(history: tf.Tensor, table: tf.lookup.StaticHashTable) -> tf.RaggedTensor:
    """Returns the ids of the items in each string, which are separated by white space.

    Args:
        history: string tensor `[B]`.
        table: Lookup table from item to id.

    Returns:
        Ragged int64 tensor `[B, (n)]`.
    """
    return tf.ragged.map_flat_values(table.lookup, tf.strings.split(history))
