"""Batches for pretraining: windows packed end to end, to save computing padding.

An epoch is one stream: the windows in a new order, with one PAD after each. The network
does not see across a PAD, so several windows can share a row. The stream is cut into
rows of equal length, wherever the cuts fall; the rest of a window that is cut goes on in
the next row, without its beginning.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_peterrec.data.batches import hide_as_unknown, hide_behind_mask
from keras_peterrec.data.vocabulary import FIRST_ITEM, PAD
from keras_peterrec.errors import InputError, check_count


def causal_batches(
    items: ArrayLike,
    starts: Sequence[int],
    stops: Sequence[int],
    tokens: int,
    rows: int = 1,
    seed: int | None = None,
    unknown_rate: float = 0.0,
    steps: int | None = None,
    weights: ArrayLike | None = None,
) -> tf.data.Dataset:
    """Makes batches for next-item training.

    All batches of all epochs have one shape, and every target occurs once in an
    epoch. In memory are the items and two numbers for each window; a batch is made
    when it is asked for.

    Args:
        items: int array `[N]` of ids, as `Sequences.items`.
        starts, stops: int arrays `[W]`, as from `Sequences.training_windows`. Each of
            several workers takes `starts[worker::workers]`, and `stops` likewise.
        tokens: int. Number of positions of a batch, approximately: an epoch is cut into
            equal parts. Rows several times as long as a window cut few windows.
        rows: int. Number of rows R of a batch. Defaults to `1`.
        seed: int or `None`. Shuffles differently in each epoch, and in the same way for
            the same seed; `None` keeps the order. Defaults to `None`.
        unknown_rate: float. Share of inputs that become the unknown item, so that the
            model learns to read items it has never seen. Defaults to `0.0`.
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
    >>> batches = causal_batches(sequences.items, starts, stops, tokens=1600, seed=0)
    """
    flat = tf.constant(items, tf.int32)

    weights_of = _weights_of(weights)

    def batch(events, noise):
        history = _gather(flat, events, 0)
        targets = _gather(flat, events, 1)
        shown = hide_as_unknown(history, noise, unknown_rate)
        return shown, _only_items(targets), *weights_of(events, 1)

    return _batches(starts, stops, batch, tokens, rows, seed, steps)


def masked_batches(
    items: ArrayLike,
    starts: Sequence[int],
    stops: Sequence[int],
    tokens: int,
    vocabulary_size: int,
    rows: int = 1,
    seed: int | None = None,
    mask_rate: float = 0.3,
    steps: int | None = None,
    weights: ArrayLike | None = None,
) -> tf.data.Dataset:
    """Makes batches for masked training: 30 % of the positions, 80/10/10.

    Args:
        items, starts, stops, tokens, rows, seed, steps, weights: see `causal_batches`.
        vocabulary_size: int.
        mask_rate: float. Share of the positions to predict; see `hide_behind_mask`.
            Defaults to `0.3`.

    Returns:
        `tf.data.Dataset` of `(history, targets)`, int32 `[R, L]` each; with `weights` see
        `causal_batches`.

    Raises:
        InputError: if there is no window, or a number is not positive.

    Source: Yuan et al., SIGIR 2020, section 3.2.
    """
    flat = tf.constant(items, tf.int32)

    weights_of = _weights_of(weights)

    def batch(events, noise):
        history = _gather(flat, events, 0)
        shown, hidden = hide_behind_mask(history, noise, mask_rate, vocabulary_size)
        return shown, _only_items(hidden), *weights_of(events, 0)

    # A causal window ends before its last target; here that event is shown too.
    return _batches(starts, np.asarray(stops) + 1, batch, tokens, rows, seed, steps)


def packing_report(
    lengths: Sequence[int], tokens: int, rows: int = 1, steps: int | None = None, seed: int = 0
) -> dict:
    """Says how much padding packing needs, and how many windows it cuts.

    Args:
        lengths: int array `[W]`. The number of events of each window.
        tokens, rows, steps: see `causal_batches`.
        seed: int. Cut windows are counted for one shuffled order, given by this seed.
            Defaults to `0`.

    Returns:
        A dict of `steps`, `rows` and `width`; `padding`, a share of all positions; and
        `cut`, a share of the windows.

    Raises:
        InputError: if there is no window, or a number is not positive.

    Example:

    >>> packing_report(stops - starts, tokens=1600)["padding"]
    0.0155
    """
    total, steps, width = _shape(lengths, tokens, rows, steps)
    order = np.random.default_rng(seed).permutation(len(lengths))
    ends = np.cumsum(np.asarray(lengths)[order] + 1)
    cuts = np.arange(1, steps * rows) * total // (steps * rows)
    window = np.searchsorted(ends, cuts, side="right")
    # A cut next to the PAD, or before a window's first event, costs nothing.
    hurts = (cuts < ends[window] - 1) & (cuts > np.append(0, ends)[window])
    return {
        "steps": steps,
        "rows": rows,
        "width": width,
        "padding": 1 - float(np.sum(lengths)) / (steps * rows * width),
        "cut": len(np.unique(window[hurts])) / len(lengths),
    }


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


def _batches(starts, stops, make_batch, tokens, rows, seed, steps):
    starts, stops = np.asarray(starts, "int64"), np.asarray(stops, "int64")
    total, steps, width = _shape(stops - starts, tokens, rows, steps)
    starts, lengths = tf.constant(starts), tf.constant(stops - starts)

    def epoch(noise):
        order = tf.range(len(lengths))
        if seed is not None:
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([noise, -1]))
        ordered = tf.gather(lengths, order) + 1  # and a PAD
        ends = tf.cumsum(ordered)
        shifts = tf.gather(starts, order) - (ends - ordered)  # from the stream to the items

        def batch(step):
            row = step * rows + tf.range(rows + 1, dtype=tf.int64)
            begins = row * total // (steps * rows)  # lengths differ by one position at most
            position = begins[:-1, tf.newaxis] + tf.range(width, dtype=tf.int64)
            window = tf.searchsorted(ends, tf.reshape(position, [-1]), side="right")
            window = tf.reshape(tf.minimum(window, len(lengths) - 1), [rows, width])
            real = (position < begins[1:, tf.newaxis]) & (position < tf.gather(ends, window) - 1)
            events = tf.where(real, position + tf.gather(shifts, window), -1)
            return make_batch(events, tf.stack([noise, step]))

        return tf.data.Dataset.range(steps).map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    # One number for each pass, so that each epoch has its own order and noise.
    epochs = tf.data.Dataset.random(seed or 0, rerandomize_each_iteration=True).take(1)
    batches = epochs.flat_map(epoch).apply(tf.data.experimental.assert_cardinality(steps))
    return batches.prefetch(tf.data.AUTOTUNE)


def _gather(flat, events, later):
    """Returns the ids of the events, or of those `later` positions on; PAD where none, `[R, L]`."""
    return tf.where(events < 0, PAD, tf.gather(flat, tf.maximum(events, 0) + later))


def _weights_of(weights):
    """A function from events to their weights or those `later` on: a tuple, empty without any."""
    if weights is None:
        return lambda events, later: ()
    flat = tf.constant(weights, tf.float32)
    return lambda events, later: (tf.gather(flat, tf.maximum(events, 0) + later),)


def _only_items(targets):
    """Replaces targets with special ids, which nobody should predict, by padding."""
    return tf.where(targets < FIRST_ITEM, PAD, targets)
