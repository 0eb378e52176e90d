"""From rows of ids to the input of a model, with the same code in training and serving."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_peterrec.log.vocabulary import PAD, UNK, item_ids


def left_pad(rows: tf.RaggedTensor, max_length: int, fixed: bool = False) -> tf.Tensor:
    """Keeps the last `max_length` known ids of each row and pads on the left.

    Unknown items are left out. A network can bear a few of them, but items that are new since
    it was pretrained come last in a history, one after the other, and hide what came before.

    Rows are ragged ids, `[B, (n)]`, or events, `[B, (n), 1 + F]`; the result is int32 `[B, L]` or
    `[B, L, 1 + F]`, L at least 1. With `fixed` every batch is `max_length` wide, rather than as
    wide as its longest row.

    Example:

    >>> left_pad(tf.ragged.constant([[7], [4, 5, 6]]), max_length=2).numpy().tolist()
    [[0, 7], [5, 6]]
    """
    ids = rows.values if len(rows.values.shape) == 1 else rows.values[:, 0]
    rows = tf.cast(keep_some(rows, ids != UNK)[:, -max_length:], tf.int32)
    lengths = tf.cast(rows.row_lengths(), tf.int32)
    width = max_length if fixed else tf.maximum(tf.reduce_max(lengths), 1)
    fields = [*rows.values.shape[1:]]  # empty where rows are ids
    right_padded = rows.to_tensor(PAD, shape=[None, max_length, *fields])[:, :width]
    source = tf.range(width)[tf.newaxis] - (width - lengths)[:, tf.newaxis]
    moved = tf.gather(right_padded, tf.maximum(source, 0), batch_dims=1)
    nothing = source < 0 if not fields else (source < 0)[..., tf.newaxis]
    return tf.where(nothing, PAD, moved)


def keep_some(rows: tf.RaggedTensor, kept: tf.Tensor) -> tf.RaggedTensor:
    """A ragged tensor `[B, (n), ...]` with some of its values alone: `kept` has a bool for each."""
    # `tf.ragged.boolean_mask` needs operations that older servers may lack.
    passed = tf.concat([[0], tf.cumsum(tf.cast(kept, tf.int64))], axis=0)
    splits = tf.gather(passed, rows.row_splits)
    values = tf.boolean_mask(rows.values, kept)
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


def event_counts(rows: tf.RaggedTensor) -> dict[str, tf.Tensor]:
    """How many events histories have, and how many of them are of items in the vocabulary.

    Rows are ragged ids, `[B, (n)]`, unknown ones included; `known_events` and `events` are int32
    `[B]`.

    Example:

    >>> counts = event_counts(tf.ragged.constant([[7, 1, 5], []]))
    >>> counts["known_events"].numpy().tolist(), counts["events"].numpy().tolist()
    ([2, 0], [3, 0])
    """
    passed = tf.concat([[0], tf.cumsum(tf.cast(rows.values != UNK, tf.int32))], axis=0)
    at = tf.gather(passed, rows.row_splits)
    return {"known_events": at[1:] - at[:-1], "events": tf.cast(rows.row_lengths(), tf.int32)}


def known_items(histories: ArrayLike) -> np.ndarray:
    """Leaves unknown items out of padded histories, `[B, L]` or `[B, L, 1 + F]`: more padding.

    Example:

    >>> known_items([[0, 7, 1, 5, 1]]).tolist()
    [[0, 0, 0, 7, 5]]
    """
    histories = np.asarray(histories, "int32")
    ids = item_ids(histories)
    known = (ids != PAD) & (ids != UNK)
    order = np.argsort(known, axis=1, kind="stable")
    if histories.ndim == 3:
        known, order = known[..., None], order[..., None]
    return np.take_along_axis(np.where(known, histories, PAD), order, axis=1)


def gather_rows(items: tf.Tensor, starts: ArrayLike, stops: ArrayLike) -> tf.RaggedTensor:
    """Returns the rows `items[start:stop]`, ragged `[B, (n), ...]`, of a tensor `[N, ...]`."""
    starts, stops = tf.cast(starts, tf.int64), tf.cast(stops, tf.int64)
    return tf.gather(items, tf.ragged.range(starts, stops))
