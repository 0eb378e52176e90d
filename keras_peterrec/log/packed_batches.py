"""Batches for pretraining: windows packed end to end, to save computing padding.

An epoch is one stream: the windows in a new order, with one PAD after each. The network
does not see across a PAD, so several windows can share a row. The stream is cut into
rows of equal length, wherever the cuts fall; the rest of a window that is cut goes on in
the next row, without its beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.log.batches import (
    as_written,
    hide_behind_mask,
    hide_events,
    hide_fields,
    later_places,
    rows_of_events,
)
from keras_peterrec.log.vocabulary import PAD, is_item, item_ids


@dataclass(frozen=True)
class NextItems:
    """What a batch of causal training shows and asks: the next item at every position.

    Args:
        unknown_rate: float. Share of inputs that become the unknown item, so that the model learns
            to read items it has never seen. Defaults to `0.0`.
        later_rate: float. How many times as often as the event before it each of the three events
            after the next one is asked for in its place; see `later_places`. Defaults to `0.0`,
            the next one alone.
        untold_rate: float. See `hide_fields`. Defaults to `0.0`.

    Example:

    >>> shown = NextItems(unknown_rate=0.2, later_rate=0.5)
    >>> batches = packed_batches(items, starts, stops, shown, tokens=1600)
    """

    more: ClassVar[int] = 0  # events of a window after those between its start and stop
    unknown_rate: float = 0.0
    later_rate: float = 0.0
    untold_rate: float = 0.0

    def places(self, events: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Places of what is asked for at `events`; both int64 `[R, L]`, negative at PAD."""
        return later_places(events, noise, self.later_rate)

    def __call__(
        self, flat: tf.Tensor, events: tf.Tensor, places: tf.Tensor, noise: tf.Tensor
    ) -> tuple:
        """`(history, targets)` of events in `flat` and the places asked for.

        The history is int32 `[R, L]` or, with fields, `[R, L, 1 + F]`; targets are `[R, L]`.
        """
        history = rows_of_events(flat, events)
        ids = hide_events(item_ids(history), noise, self.unknown_rate)
        targets = _only_items(item_ids(rows_of_events(flat, places)))
        return _with_fields(ids, history, events, noise, self.untold_rate), targets


@dataclass(frozen=True)
class HiddenItems:
    """What a batch of masked training shows and asks: the items that it hides, 80/10/10.

    Args:
        vocabulary_size: int.
        mask_rate: float. Share of the positions to predict; see `hide_behind_mask`. Defaults to
            `0.3`.
        untold_rate: float. See `hide_fields`. Defaults to `0.0`.

    Example:

    >>> batches = packed_batches(items, starts, stops, HiddenItems(1000), tokens=1600)

    Source: Yuan et al., SIGIR 2020, section 3.2.
    """

    more: ClassVar[int] = 1  # a causal window ends before its last target; here that is shown too
    vocabulary_size: int
    mask_rate: float = 0.3
    untold_rate: float = 0.0

    def places(self, events: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """See `NextItems`."""
        return events

    def __call__(
        self, flat: tf.Tensor, events: tf.Tensor, places: tf.Tensor, noise: tf.Tensor
    ) -> tuple:
        """See `NextItems`."""
        history = rows_of_events(flat, events)
        args = noise, self.mask_rate, self.vocabulary_size
        ids, hidden = hide_behind_mask(item_ids(history), *args)
        shown = _with_fields(ids, history, events, noise, self.untold_rate)
        return shown, _only_items(hidden)


def _shape(lengths, tokens, rows, steps):
    """Returns the length of the stream, the batches of an epoch and the width of a row."""
    if len(lengths) == 0:
        raise InputError("`starts` should have at least one window. Received: none.")
    for name, value in (("tokens", tokens), ("rows", rows), ("steps", steps)):
        if value is not None:
            check_count(name, value)
    total = int(np.sum(lengths)) + len(lengths)
    steps = steps or max(1, round(total / tokens))
    return total, steps, -(-total // (steps * rows))


def packed_batches(
    items: ArrayLike,
    starts: Sequence[int] | np.ndarray,
    stops: Sequence[int] | np.ndarray,
    make_batch: NextItems | HiddenItems,
    tokens: int,
    rows: int = 1,
    seed: int | None = None,
    steps: int | None = None,
    weights: ArrayLike | None = None,
) -> tf.data.Dataset:
    """Makes batches for pretraining: of the next item at every position, or of hidden items.

    All batches of all epochs have one shape, and every target occurs once in an epoch (but see
    `later_places`). In memory are the items and two numbers for each window; a batch is made when
    it is asked for.

    Args:
        items: int array `[N]` of ids, as `Events.items`, or rows of events `[N, 1 + F]`; see
            `EventFields.rows`. With these the history of a batch is `[R, L, 1 + F]`.
        starts, stops: int arrays `[W]`, as from `Events.training_windows`. Each of
            several workers takes `starts[worker::workers]`, and `stops` likewise.
        make_batch: NextItems or HiddenItems.
        tokens: int. Number of positions of a batch, approximately: an epoch is cut into
            equal parts. Rows several times as long as a window cut few windows.
        rows: int. Number of rows R of a batch. Defaults to `1`.
        seed: int or `None`. Shuffles differently in each epoch, and in the same way for
            the same seed; `None` keeps the order. Defaults to `None`.
        steps: int or `None`. Number of batches of an epoch, where workers must agree.
            Defaults to `None`, which follows from `tokens`.
        weights: float array `[N]` or `None`. How much each event counts as a target; see
            `Pretrainer`. Defaults to `None`, all alike.

    Returns:
        `tf.data.Dataset` of `(history, targets)`, int32 `[R, L]` each; targets
        are 0 where there is nothing to predict. With `weights` of `(history, targets, weights)`,
        the last of them float32 `[R, L]`.

    Raises:
        InputError: if there is no window, or a number is not positive.

    Example:

    >>> starts, stops = sequences.training_windows(max_length=100)
    >>> batches = packed_batches(sequences.items, starts, stops, NextItems(), tokens=1600, seed=0)
    """
    starts = np.asarray(starts, "int64")
    lengths = np.asarray(stops, "int64") + make_batch.more - starts
    _, steps, width = _shape(lengths, tokens, rows, steps)
    flat, starts, lengths = tf.constant(items, tf.int32), tf.constant(starts), tf.constant(lengths)
    # One number for each pass, so that each epoch has its own order and noise.
    numbers = pass_numbers(seed)
    weights = () if weights is None else (tf.constant(weights, tf.float32),)
    chunk = lambda noise: Chunk(flat, starts, lengths, noise, steps, weights=weights)
    chunks = numbers.map(as_written(chunk))
    batches = packed(chunks, make_batch, rows, width, shuffled=seed is not None)
    batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
    return batches.prefetch(tf.data.AUTOTUNE)


def pass_numbers(seed: int | None) -> tf.data.Dataset:
    """One random number, another one in each pass over the dataset."""
    return tf.data.Dataset.random(seed or 0, rerandomize_each_iteration=True).take(1)


class Chunk(NamedTuple):
    """Windows that are shuffled and packed together, as tensors.

    Args:
        flat: int32 `[N]`, ids of items, or `[N, 1 + F]`, rows of events; see `EventFields`.
        starts, lengths: int64 `[W]`; a window is `flat[start:start + length]`.
        noise: int64, a random number for the order and for what is hidden.
        steps: int64, how many batches the windows fill.
        first: int64, the first of these batches that is wanted.
        weights: of one float32 `[N]`, how much each event counts as a target, or of none: alike.
    """

    flat: Any
    starts: Any
    lengths: Any
    noise: Any
    steps: Any
    first: Any = 0
    weights: tuple = ()


def packed(
    chunks: tf.data.Dataset,
    make_batch: NextItems | HiddenItems,
    rows: int,
    width: int,
    shuffled: bool = True,
) -> tf.data.Dataset:
    """The batches of chunks, a dataset of `Chunk`, one after the other: `rows` times `width` each.

    Batches are `(history, targets)`, int32 `[R, L]` each, with a third part, float32 `[R, L]`,
    where chunks have weights. The windows of a chunk are shuffled unless told otherwise.
    """

    def batches_of(chunk):
        flat, starts, lengths, noise = chunk[:4]
        steps, first = (tf.cast(number, tf.int64) for number in chunk[4:6])
        order = tf.range(tf.size(lengths))
        if shuffled:
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([noise, -1]))
        ordered = tf.gather(lengths, order) + 1  # and a PAD
        ends = tf.cumsum(ordered)
        total = ends[-1]
        shifts = tf.gather(starts, order) - (ends - ordered)  # from the stream to the items

        def batch(step):
            row = step * rows + tf.range(rows + 1, dtype=tf.int64)
            begins = row * total // (steps * rows)  # lengths differ by one position at most
            position = begins[:-1, tf.newaxis] + tf.range(width, dtype=tf.int64)
            window = tf.searchsorted(ends, tf.reshape(position, [-1]), side="right")
            window = tf.reshape(tf.minimum(window, tf.size(lengths) - 1), [rows, width])
            real = (position < begins[1:, tf.newaxis]) & (position < tf.gather(ends, window) - 1)
            events = tf.where(real, position + tf.gather(shifts, window), -1)
            drawn = tf.stack([noise, step])
            places = make_batch.places(events, drawn)
            counted = (tf.gather(weights, tf.maximum(places, 0)) for weights in chunk.weights)
            return *make_batch(flat, events, places, drawn), *counted

        asked = tf.data.Dataset.range(first, steps)
        return asked.map(as_written(batch), num_parallel_calls=tf.data.AUTOTUNE)

    return chunks.flat_map(as_written(batches_of))


def _with_fields(ids, history, events, noise, untold_rate):
    """The ids that are shown, with the fields of their events where a history has them."""
    if len(history.shape) == 2:
        return ids
    fields = hide_fields(history[..., 1:], events, noise, untold_rate)
    return tf.concat([ids[..., tf.newaxis], fields], axis=-1)


def _only_items(targets):
    """Replaces targets with special ids, which nobody should predict, by padding."""
    return tf.where(is_item(targets), targets, PAD)
