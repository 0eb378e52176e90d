"""tf.data pipelines for tasks, padded on the left, how items are hidden from a model,
and which ones it is asked for.

Batches for pretraining, which are not padded, are in `packed_batches`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_peterrec.log.preprocessing import gather_rows, left_pad
from keras_peterrec.log.task_examples import ItemLists
from keras_peterrec.log.vocabulary import MASK, PAD, UNK, id_of, item_ids, number_of

MOST_LATER = 3  # later events that may be the target in place of the next one
UNTOLD_USERS = 0.2  # share of the rows of which training does not tell what columns say
# For functions that tf.data calls: it would first rewrite their Python, which takes up to half a
# second each, for branches on tensors that they do not have.
as_written = tf.autograph.experimental.do_not_convert


def task_batches(
    items: ArrayLike,
    starts: Sequence[int],
    stops: Sequence[int],
    answers: np.ndarray | ItemLists,
    max_length: int,
    batch_size: int,
    seed: int | None = None,
    hide_rate: float = 0.0,
    hide_as: int = UNK,
    steps: int | None = None,
    told: ArrayLike | None = None,
) -> tf.data.Dataset:
    """Makes batches of histories and a task's answers.

    Args:
        items: int array `[N]` or `[N, 1 + F]`, as `Events.rows`.
        starts, stops: int arrays `[E]`. Histories are `items[start:stop]`.
        answers: the answer to each history: an array `[E, ...]` of classes or numbers, or
            ItemLists of target items, which are filled up with -1 in a batch.
        max_length: int. How many of a history's last items are kept.
        batch_size: int.
        seed: int or `None`. Shuffles differently in each epoch, and in the same way for
            the same seed; `None` keeps the order. Defaults to `None`.
        hide_rate: float. Share of the events that are hidden, others in each epoch. Defaults to
            `0.0`.
        hide_as: int. The id that stands in the place of a hidden event. Defaults to `UNK`.
        steps: int or `None`. Batches of an epoch, to use only a part of the shuffled
            rows in each. Defaults to `None`, all rows.
        told: int array `[E, G]` or `None`. What columns say of each user; it is not told of some,
            see `told_lookup`. Defaults to `None`, nothing.

    Returns:
        `tf.data.Dataset` of `(history [B, L] or [B, L, 1 + F], answers)`; in place of a history a
        dict of `history` and `told` `[B, G]`, where columns say something.

    Example:

    >>> batches = task_batches(
    ...     sequences.items, starts, stops, classes, max_length=100, batch_size=64, seed=0
    ... )
    """
    flat, answers_of = tf.constant(items, tf.int32), answer_lookup(answers)
    told_of = None if told is None else told_lookup(told)

    def batch(rows, noise):
        start, stop, row = rows
        history = left_pad(gather_rows(flat, start, stop), max_length, fixed=True)
        inputs = hide_whole_events(history, noise, hide_rate, hide_as)
        if told_of is not None:
            inputs = {"history": inputs, "told": told_of(row, noise)}
        return inputs, answers_of(row)

    return _batches((starts, stops, np.arange(len(answers))), batch, batch_size, seed, steps)


def state_batches(
    states: np.ndarray,
    answers: np.ndarray | ItemLists,
    batch_size: int,
    seed: int | None = None,
    told: ArrayLike | None = None,
) -> tf.data.Dataset:
    """Makes batches of users' states `[E, C]`, computed beforehand, and a task's answers.

    The other arguments are those of `task_batches`. Batches are `(states [B, C], answers)`; where
    columns say something of users, in place of states a dict of `users` and `told` `[B, G]`.
    """
    states, answers_of = tf.constant(states), answer_lookup(answers)
    told_of = None if told is None else told_lookup(told)

    def batch(rows, noise):
        inputs = tf.gather(states, rows[0])
        if told_of is not None:
            inputs = {"users": inputs, "told": told_of(rows[0], noise)}
        return inputs, answers_of(rows[0])

    # The row numbers are shuffled, not the states, so that those are held only once.
    return _batches((np.arange(len(answers)),), batch, batch_size, seed)


def answer_lookup(answers: np.ndarray | ItemLists) -> Callable[[Any], tf.Tensor]:
    """Returns a function from row numbers, an int tensor `[...]`, to the rows' answers.

    Of an array `[E, ...]` these are its rows, `[..., ...]`. Of ItemLists they are int32 `[..., T]`,
    filled up with -1 to the longest list of all rows, so that batches have one shape. ItemLists
    with weights become float32 `[..., T, 2]`: the items, and beside each its weight; see
    `TargetLoss`.
    """
    if not isinstance(answers, ItemLists):
        answers = tf.constant(answers)
        return lambda rows: tf.gather(answers, rows)
    width = max(1, int(answers.lengths.max()))
    offsets, parts = tf.constant(answers.offsets), [tf.constant(answers.items)]
    if answers.weights is not None:
        parts.append(tf.constant(answers.weights, tf.float32))

    def lookup(rows):
        flat = tf.reshape(rows, [-1])
        bounds = tf.gather(offsets, flat), tf.gather(offsets, flat + 1)
        found = []
        for part in parts:
            filled = gather_rows(part, *bounds).to_tensor(-1, shape=[None, width])
            filled = tf.reshape(filled, tf.concat([tf.shape(rows), [width]], 0))
            found.append(tf.ensure_shape(filled, [*rows.shape, width]))
        if len(found) == 1:
            return found[0]
        return tf.stack([tf.cast(found[0], tf.float32), found[1]], axis=-1)

    return lookup


def told_lookup(told: ArrayLike) -> Callable[[Any, tf.Tensor], tf.Tensor]:
    """Returns a function from row numbers `[...]` and noise to what is told of users, `[..., G]`.

    Of `UNTOLD_USERS` of the rows of `told`, `[E, G]`, nothing is told and, of half as many, one
    column is not, each for itself: so a model also answers well for users whom the table lacks.
    """
    told = tf.constant(told, tf.int32)

    def lookup(rows, noise):
        found = tf.gather(told, rows)
        hidden = (_uniform(rows, noise, 7) < UNTOLD_USERS)[..., tf.newaxis]
        return tf.where(hidden | (_uniform(found, noise, 8) < UNTOLD_USERS / 2), 0, found)

    return lookup


def history_batches(
    items: ArrayLike, starts: ArrayLike, stops: ArrayLike, max_length: int, batch_size: int
) -> Iterator[tf.Tensor]:
    """Makes batches of histories alone, in order, each as wide as its longest row.

    Without a tf.data pipeline: to trace one takes longer than many of these batches.

    Args:
        items: int array `[N]`, or rows of events `[N, 1 + F]`; see `EventFields.rows`.
        starts, stops, max_length, batch_size: see `task_batches`.

    Yields:
        int32 tensors `[B, L]` or `[B, L, 1 + F]`.

    Example:

    >>> batches = history_batches(items, starts, stops, max_length=12, batch_size=4)
    >>> next(batches).shape[0]
    4
    """
    flat, starts, stops = tf.constant(items, tf.int32), np.asarray(starts), np.asarray(stops)
    for first in range(0, len(starts), batch_size):
        some = slice(first, first + batch_size)
        yield left_pad(gather_rows(flat, starts[some], stops[some]), max_length)


def _batches(columns, make_batch, batch_size, seed, steps=None):
    rows = tf.data.Dataset.from_tensor_slices(tuple(columns))
    noise = tf.data.Dataset.random(seed or 0, rerandomize_each_iteration=True).batch(2)
    if seed is None:
        rows = rows.batch(batch_size)
    else:
        # The last batch is filled with rows of the next shuffle: all batches have
        # one shape, so that a compiled training step is compiled once.
        count = len(columns[0])
        rows = rows.shuffle(count, seed=seed, reshuffle_each_iteration=True).repeat()
        rows = rows.batch(batch_size, drop_remainder=True).take(steps or -(-count // batch_size))
    paired = tf.data.Dataset.zip(rows, noise)
    batches = paired.map(as_written(make_batch), num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def rows_of_events(flat: tf.Tensor, events: tf.Tensor) -> tf.Tensor:
    """Rows of events `[..., L]` or `[..., L, 1 + F]`, by their places in `flat`; PAD at -1."""
    rows = tf.gather(flat, tf.maximum(events, 0))
    nothing = events < 0 if len(flat.shape) == 1 else (events < 0)[..., tf.newaxis]
    return tf.where(nothing, PAD, rows)


def hide_events(ids: tf.Tensor, noise: tf.Tensor, rate: float, hide_as: int = UNK) -> tf.Tensor:
    """Replaces a share `rate` of items, int32 such as `[B, L]`, by the id `hide_as`.

    `noise`, int64 `[2]`, is the seed of this batch's random numbers.
    """
    if not rate:
        return ids
    return tf.where((_uniform(ids, noise, 0) < rate) & (ids != PAD), hide_as, ids)


def hide_whole_events(history: tf.Tensor, noise: tf.Tensor, rate: float, hide_as: int) -> tf.Tensor:
    """Replaces a share of the events by another item, of which nothing is told; see `hide_events`.

    The history is int32 `[B, L]` or `[B, L, 1 + F]`.
    """
    if len(history.shape) == 2 or not rate:
        return hide_events(history, noise, rate, hide_as)
    ids = hide_events(item_ids(history), noise, rate, hide_as)
    fields = tf.where((ids == item_ids(history))[..., tf.newaxis], history[..., 1:], 0)
    return tf.concat([ids[..., tf.newaxis], fields], axis=-1)


def hide_fields(fields: tf.Tensor, events: tf.Tensor, noise: tf.Tensor, rate: float) -> tf.Tensor:
    """Leaves fields of some events out, so that a model answers well where they are not told.

    Of a share `rate` of the windows nothing is told but the items. Of half as large a share one
    field is not told, each for itself, and of half as large a share of all events none is. So
    requests without any field, without times, and without the moment of the question are learned.
    Fields are int32 `[R, L, F]`; events int64 `[R, L]`, negative between two windows.
    """
    if not rate:
        return fields
    window = tf.cumsum(tf.cast(events < 0, tf.int32), axis=1)
    of_windows = lambda like, stream: tf.gather(
        _uniform(like, noise, stream), tf.minimum(window, tf.shape(like)[1] - 1), batch_dims=1
    )
    all_hidden = (of_windows(events, 4) < rate) | (_uniform(events, noise, 5) < rate / 2)
    hidden = all_hidden[..., tf.newaxis] | (of_windows(fields, 6) < rate / 2)
    return tf.where(hidden, 0, fields)


def later_places(events: tf.Tensor, noise: tf.Tensor, rate: float) -> tf.Tensor:
    """Draws which event answers each position: the next one, or one soon after it.

    The event after the next is drawn `rate` times as often as the next one, and so on, up to
    `MOST_LATER` events after it, as long as the row goes on with the same window. With a rate of 0
    it is always the next one. Events and answers are places in the log, int64 `[R, L]`; negative
    where there is none.

    Source: after the dense all-action loss of PinnerFormer, Pancha et al., KDD 2022; each epoch
    draws one of its terms for each position.
    """
    following = tf.where(events < 0, events, events + 1)
    if not rate:
        return following
    # A window goes on as long as places rise by one from column to column. Two columns on, behind
    # its end and a PAD, another user's first event may have the place that is two further on.
    goes_on, ahead = events >= 0, tf.zeros_like(events, tf.int32)
    for apart in range(1, MOST_LATER + 1):
        shifted = tf.pad(events, [[0, 0], [0, apart]], constant_values=-1)[:, apart:]
        goes_on &= shifted == events + apart
        ahead += tf.cast(goes_on, tf.int32)
    sums = np.cumsum(rate ** np.arange(MOST_LATER + 1)).astype("float32")
    drawn = _uniform(events, noise, 3) * tf.gather(sums, ahead)
    later = tf.reduce_sum(tf.cast(drawn[..., tf.newaxis] >= sums[:-1], tf.int64), axis=-1)
    return following + later


def hide_behind_mask(
    ids: tf.Tensor, noise: tf.Tensor, rate: float, vocabulary_size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Masks a share of the positions, 80/10/10.

    Of the chosen positions, 80 % become the mask, 10 % a random item and 10 % stay as they are.

    Returns:
        Two int32 tensors of the shape of `ids`: what the model is shown, and what stood at the
        chosen positions, with PAD elsewhere.

    Source: Yuan et al., SIGIR 2020, section 3.2.
    """
    hidden = (_uniform(ids, noise, 0) < rate) & (ids != PAD)
    fate = _uniform(ids, noise, 1)
    span = tf.cast(number_of(vocabulary_size), tf.float32)
    random_item = id_of(tf.cast(_uniform(ids, noise, 2) * span, tf.int32))
    shown = tf.where(fate < 0.8, MASK, tf.where(fate < 0.9, random_item, ids))
    return tf.where(hidden, shown, ids), tf.where(hidden, ids, PAD)


def _uniform(like, noise, stream):
    """Returns uniform numbers of the shape of `like`, from the batch's own noise."""
    seed = tf.stack([noise[0] + stream, noise[1]])
    return tf.random.stateless_uniform(tf.shape(like), seed)
