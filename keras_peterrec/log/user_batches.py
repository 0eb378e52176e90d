"""Batches for one pass over a user's history that serves all of its cuts.

A task with cut histories has a row for each moment at which a user chose something: the same
history, cut at several places. Here a batch holds each history once, with the cuts beside it.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_peterrec.integers import counted_up
from keras_peterrec.log.batches import (
    answer_lookup,
    as_written,
    hide_whole_events,
    rows_of_events,
    told_lookup,
)
from keras_peterrec.log.task_examples import ItemLists
from keras_peterrec.log.vocabulary import UNK
from keras_peterrec.progress import each

# If a stretch does not fit into a batch any more, so many of the next ones are tried.
_TRIES = 16
# Room for more cuts than average, because users differ in how many they have.
_SPARE_SLOTS = 1.1


@dataclass(frozen=True)
class Stretches:
    """Parts of users' histories, and which examples end in each; arrays `[K]`.

    Args:
        starts: the first event of each stretch.
        widths: its columns, one more than its events: the last is for the token after them.
        first, counts: its examples are `UserBatches.order[first:first + count]`.
    """

    starts: np.ndarray
    widths: np.ndarray
    first: np.ndarray
    counts: np.ndarray


class UserBatches:
    """Lays users' histories side by side in batches of one shape, each with its cuts.

    A row of a batch holds several histories with PAD after each, and has a number of *slots*,
    one for each cut. A history that is longer than a row is read in *stretches*; each begins so
    many events before its first cut that no answer changes.

    Args:
        starts, stops: int arrays `[E]`, as of `TaskExamples`. Those with equal starts are cuts of
            one history.
        reach: how many events before a cut its answer depends on; see `TaskModel.reach`.
        positions: of a batch, approximately.
        cuts: of a batch, approximately, in place of `positions`.
        rows: the rows of a batch are a multiple of this.

    Attributes:
        shape: the rows R, the columns L and the slots S (of a row) of a batch.
        stretches: what is read in one pass over all examples.
        at_ends: whether every history has a single cut, which is then its end.

    Example:

    >>> plan = UserBatches(train.starts, train.stops, reach=200, cuts=512)
    >>> batches = plan.training(source.items, train.answers, seed=0, steps=plan.steps)
    """

    def __init__(
        self,
        starts: ArrayLike,
        stops: ArrayLike,
        reach: int,
        positions: int = 16_384,
        cuts: int | None = None,
        rows: int = 1,
    ) -> None:
        starts, stops = np.asarray(starts, "int64"), np.asarray(stops, "int64")
        self.order = np.lexsort((stops, starts))
        self.stops = stops
        starts, stops = starts[self.order], stops[self.order]
        begins = np.flatnonzero(np.diff(starts, prepend=-1))
        ends = np.append(begins[1:], len(starts))
        self.at_ends = len(begins) == len(starts)
        first_events = np.maximum(starts[begins], stops[begins] - reach)
        widths = stops[ends - 1] - first_events + 1
        if cuts is not None:
            positions = cuts * widths.sum() / len(starts)
        # Rows of one and a half times the reach read little of long histories twice, and waste
        # little of short ones.
        columns = max(
            min(widths.max(), 1.5 * (reach + 1)), min(4 * widths.mean(), positions / rows)
        )
        columns = -(-int(columns) // 8) * 8
        lines = max(1, round(positions / columns / rows)) * rows
        histories = starts, stops, begins, ends, first_events, widths, reach
        whole = _cut(*histories, columns, len(starts))  # as if a row had slots without end
        slots = max(8, int(_SPARE_SLOTS * columns * len(starts) / whole.widths.sum()))
        self.shape = lines, columns, slots
        self.stretches = _cut(*histories, columns, slots)

    @property
    def steps(self) -> int:
        """About how many batches hold all stretches once; a few may be left over."""
        rows, columns, slots = self.shape
        filled = self.stretches.widths.sum() / columns, self.stretches.counts.sum() / slots
        return -(-int(max(filled)) // rows) or 1

    def pack(self, stretches: ArrayLike, most: int | None = None) -> tuple:
        """Puts stretches, by their numbers, into batches, nearly in the given order.

        It stops after `most` batches; with `None` when all are in.

        Returns:
            int32 arrays of N batches: `events` `[N, R, L]`, places in `items` and -1 for PAD;
            `cuts` `[N, R, S]`, columns; and `examples` `[N, R, S]`, -1 for an empty slot.
        """
        rows, columns, slots = self.shape
        widths, counts = self.stretches.widths.tolist(), self.stretches.counts.tolist()
        placed, waiting, batch = [], list(reversed(np.asarray(stretches).tolist())), 0
        while waiting and batch != most:
            free, open_slots, misfits = [columns] * rows, [slots] * rows, []
            while waiting and len(misfits) < _TRIES:
                number = waiting.pop()
                width, count = widths[number], counts[number]
                fitting = [r for r in range(rows) if free[r] >= width and open_slots[r] >= count]
                if not fitting:
                    misfits.append(number)
                    continue
                row = min(fitting, key=free.__getitem__)
                placed.append((number, batch, row, columns - free[row], slots - open_slots[row]))
                free[row] -= width
                open_slots[row] -= count
            waiting += reversed(misfits)
            batch += 1
        return self._filled(np.array(placed, "int64").T, batch)

    def _filled(self, placed, batches):
        rows, columns, slots = self.shape
        number, batch, row, column, slot = placed
        line = batch * rows + row
        stretches = self.stretches
        events = np.full(batches * rows * columns, -1, "int32")
        cuts, examples = (np.full(batches * rows * slots, fill, "int32") for fill in (0, -1))
        lengths = stretches.widths[number] - 1
        nth = counted_up(lengths)
        events[np.repeat(line * columns + column, lengths) + nth] = (
            np.repeat(stretches.starts[number], lengths) + nth
        )
        counts = stretches.counts[number]
        nth = counted_up(counts)
        example = self.order[np.repeat(stretches.first[number], counts) + nth]
        at = np.repeat(line * slots + slot, counts) + nth
        examples[at] = example
        cuts[at] = self.stops[example] + np.repeat(column - stretches.starts[number], counts)
        shape = batches, rows
        return tuple(part.reshape(*shape, -1) for part in (events, cuts, examples))

    def training(
        self,
        items: ArrayLike,
        answers: np.ndarray | ItemLists,
        seed: int,
        steps: int,
        hide_rate: float = 0.0,
        hide_as: int = UNK,
        told: ArrayLike | None = None,
    ) -> tf.data.Dataset:
        """Makes batches for training. Stretches are shuffled, anew in each epoch.

        Args:
            items: int array `[N]` or `[N, 1 + F]`, as `Events.rows`.
            answers: array `[E, ...]`, or ItemLists; see `answer_lookup`.
            seed: the same seed gives the same batches in every epoch.
            steps: batches of an epoch.
            hide_rate, hide_as, told: see `task_batches`. The cuts of a history share what is hidden
                of its events.

        Returns:
            `tf.data.Dataset` of `({history [R, L], cuts [R, S]}, answers [R, S, ...], weights
            [R, S])`; where columns say something of users, the dict also has `told` `[R, S, G]`.
            The weight of an empty slot is 0, and the others are such that the mean over
            all slots is about the mean over the cuts.
        """
        items, answers_of = tf.constant(items, tf.int32), answer_lookup(answers)
        told_of = None if told is None else told_lookup(told)
        rows, columns, slots = self.shape
        # A constant, so that every cut counts the same whatever the batch it is in.
        weight = max(1.0, self.steps * rows * slots / self.stretches.counts.sum())

        def epoch(noise):
            parts = tf.numpy_function(self._shuffled, [noise, steps], [tf.int32] * 3)
            for part, width in zip(parts, (columns, slots, slots)):
                part.set_shape([steps, rows, width])
            return tf.data.Dataset.from_tensor_slices(tuple(parts))

        def batch(rows, noise):
            events, cuts, examples = rows
            history = hide_whole_events(rows_of_events(items, events), noise, hide_rate, hide_as)
            places, inputs = tf.maximum(examples, 0), {"history": history, "cuts": cuts}
            if told_of is not None:
                inputs["told"] = told_of(places, noise)
            return inputs, answers_of(places), tf.where(examples >= 0, weight, 0.0)

        epochs = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
        noise = tf.data.Dataset.random(seed + 1, rerandomize_each_iteration=True).batch(2)
        batches = tf.data.Dataset.zip(epochs.flat_map(as_written(epoch)), noise)
        batches = batches.map(as_written(batch), num_parallel_calls=tf.data.AUTOTUNE)
        batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
        return batches.prefetch(tf.data.AUTOTUNE)

    def _shuffled(self, noise, steps):
        """As many batches as asked for, out of one shuffle after another."""
        draw, parts, made = np.random.default_rng(int(noise) % 2**63), [], 0
        while made < steps:
            order = draw.permutation(len(self.stretches.starts))
            parts.append(self.pack(order, int(steps) - made))
            made += len(parts[-1][0])
        return tuple(np.concatenate(part) for part in zip(*parts))

    def outputs(self, function, items: ArrayLike) -> np.ndarray:
        """Applies a function of histories and cuts to all examples: float32 `[E, ...]`.

        The function is from int32 `[R, L]` or `[R, L, 1 + F]`, and `[R, S]` to a tensor
        `[R·S, ...]`; items are as `Events.rows`.
        """
        items, outputs = tf.constant(items, tf.int32), None
        # The widest first: the small ones fill the gaps.
        packed = self.pack(np.argsort(-self.stretches.widths))
        for events, cuts, examples in each(zip(*packed), "asking the network", len(packed[0])):
            answers = function(rows_of_events(items, events), tf.constant(cuts)).numpy()
            if outputs is None:
                outputs = np.empty((len(self.order), *answers.shape[1:]), answers.dtype)
            used = examples.ravel() >= 0
            outputs[examples.ravel()[used]] = answers[used]
        return outputs


def _cut(starts, stops, begins, ends, first_events, widths, reach, columns, slots):
    """Histories as Stretches; those that do not fit into a row are divided."""
    fits = (widths <= columns) & (ends - begins <= slots)
    pieces = [np.stack([first_events, widths, begins, ends - begins])[:, fits]]
    for begin, end in zip(begins[~fits], ends[~fits]):
        while begin < end:
            event = max(starts[begin], stops[begin] - reach)
            last = np.searchsorted(stops[begin:end], event + columns - 1, side="right")
            count = min(last, slots)
            width = stops[begin + count - 1] - event + 1
            pieces.append(np.array([[event], [width], [begin], [count]]))
            begin += count
    return Stretches(*np.concatenate(pieces, axis=1))
