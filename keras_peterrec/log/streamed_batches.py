"""Batches for pretraining from a prepared log that does not fit into memory.

The shards are read in *chunks*, a few at a time. The windows of a chunk are shuffled and packed as
those of a log in memory are, by the same code; a log of one chunk gives the same batches. A pass
reads the chunks in a new order, and every event is read once in a pass. As shards are
hashes of users, a chunk is a random part of them, and it does not matter that its users always
come together.
"""

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_peterrec.errors import InputError
from keras_peterrec.log.batches import as_written
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.event_split import window_counts
from keras_peterrec.log.packed_batches import Chunk, HiddenItems, NextItems, packed, pass_numbers
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.splits import LAST, SplitCounts, count_split, mean_one_factor

CHUNK_EVENTS = 4_000_000  # about 150 MB in memory, once for this chunk and once for the next
# Between the random numbers of two chunks of a pass; a batch takes three in a row.
_APART = 1_000_003


class StreamedBatches:
    """Batches of one worker, which reads only its own shards.

    Where a batch is in the stream follows from its number, counted from the first batch of the
    first pass: so an interrupted training goes on with the batch that comes next.

    Args:
        prepared: PreparedLog.
        ids: int32 array `[I]`. The id in the batches of each item of the log; see
            `counted_vocabulary`.
        make_batch: NextItems or HiddenItems.
        tokens: int. Positions of a batch of this worker, approximately.
        rows: int. Rows of a batch of this worker. Defaults to `1`.
        seed: int. The same seed gives the same batches. Defaults to `0`.
        window: int or `None`. The most inputs of a window. Defaults to `None`, whole histories.
        chunk_events: int. Events of a chunk, approximately; it has one shard at least.
        worker, workers: int. Which worker this is, of how many. Default to `0` and `1`.
        split: SplitCounts or `None`. Defaults to `None`: the last two events of each user are
            not read.
        fields: EventFields. What is read of each event beside its item. Defaults to
            `EventFields()`, nothing.

    Attributes:
        steps: int. Batches of a pass, the same for all workers.
        width: int. Columns of a batch.
        chunks: list of lists of shards, of this worker.

    Raises:
        InputError: there are more workers than shards, or users have too few events.

    Example:

    >>> prepared = PreparedLog("data/clicks")
    >>> _, _, ids = counted_vocabulary(prepared.item_ids, prepared.counts, min_count=1)
    >>> batches = StreamedBatches(prepared, ids, tokens=1_000)
    >>> for history, targets in batches.from_step(0).take(batches.steps):
    ...     pass
    """

    def __init__(
        self,
        prepared: PreparedLog,
        ids: np.ndarray,
        make_batch: NextItems | HiddenItems = NextItems(),
        tokens: int = 1_000,
        rows: int = 1,
        seed: int = 0,
        window: int | None = None,
        chunk_events: int = CHUNK_EVENTS,
        worker: int = 0,
        workers: int = 1,
        split: SplitCounts | None = None,
        fields: EventFields = EventFields(),
    ) -> None:
        self.prepared, self.ids, self.make_batch = prepared, ids, make_batch
        self.rows, self.seed, self.fields, self._error = rows, seed, fields, None
        self.split = split or count_split(prepared, LAST)
        self._factor = None
        if prepared.weighted:
            self._factor = mean_one_factor(self.split.targets, self.split.target_weight)
        self.window = window or int(prepared.lengths()[1].max())
        if prepared.shards < workers:
            raise InputError(
                f"`log` should have a shard for each of {workers} workers. Received: "
                f"{prepared.path!r} with {prepared.shards}; prepare it with more `shards`."
            )
        every = [_chunks(prepared, range(w, prepared.shards, workers)) for w in range(workers)]
        count = max(-(-events // chunk_events) for _, events in every)
        count = min(count, *(len(shards) for shards, _ in every)) if count > 1 else 1
        every = [np.array_split(shards, count) for shards, _ in every]
        self.chunks = [chunk.tolist() for chunk in every[worker]]
        self._number = worker * count
        positions = self._positions()
        totals = np.array([[positions[chunk].sum() for chunk in chunks] for chunks in every])
        if not totals.all():
            raise InputError(
                "`log` should have users with at least two training events in each part of "
                f"{prepared.path!r}. Received: none in one of {totals.size} parts."
            )
        largest = totals.max(axis=0)
        # All workers take as many steps for a chunk, so that a pass ends at once for all.
        self._steps = np.maximum(1, np.round(largest / tokens).astype("int64"))
        self.steps = int(self._steps.sum())
        self.width = int(np.max(-(-largest // (self._steps * rows))))

    def _positions(self):
        """The positions that the windows of each shard take, each window with its PAD."""
        split = self.split
        targets, windows = window_counts(split.trained, self.window)
        taken = split.users * (targets + windows * (1 + self.make_batch.more))
        return np.bincount(split.shard, taken, self.prepared.shards).astype("int64")

    @property
    def element_spec(self) -> tuple:
        """As of the dataset that `from_step` returns."""
        spec = tf.TensorSpec([self.rows, self.width], tf.int32)
        history = tf.TensorSpec([*spec.shape, *self._columns], tf.int32)
        return history, spec, *[tf.TensorSpec(spec.shape, tf.float32)] * self.prepared.weighted

    def cardinality(self) -> tf.Tensor:
        """Batches of a pass, as of a tf.data.Dataset of one."""
        return tf.constant(self.steps, tf.int64)

    def from_step(self, step: int) -> tf.data.Dataset:
        """The endless stream, from the batch of this number on.

        Returns:
            `tf.data.Dataset` of `(history, targets)`, int32 `[R, L]` each, and weights, float32
            `[R, L]`, where the log has them.
        """
        plan = tf.data.Dataset.from_generator(
            lambda: self._plan(step), output_signature=tf.TensorSpec([4], tf.int64)
        )

        def load(entry):
            kinds = [tf.int32, tf.int64, tf.int64, *[tf.float32] * self.prepared.weighted]
            parts = tf.numpy_function(self._load, [entry[0]], kinds)
            for part in parts[1:]:
                part.set_shape([None])
            parts[0].set_shape([None, *self._columns])
            windows, weights = parts[:3], tuple(parts[3:])
            return Chunk(*windows, noise=entry[1], steps=entry[2], first=entry[3], weights=weights)

        # The next one is read while this one is used.
        chunks = plan.map(as_written(load)).prefetch(1)
        batches = packed(chunks, self.make_batch, self.rows, self.width)
        return batches.prefetch(tf.data.AUTOTUNE)

    def _plan(self, step) -> Iterator:
        """The chunks from a step on: chunk, random number, steps, and steps to leave out."""
        numbers = pass_numbers(self.seed)
        for turn in itertools.count():
            [noise] = [int(number) for number in numbers]
            if step >= self.steps:
                step -= self.steps
                continue
            for chunk in np.random.default_rng([self.seed, turn]).permutation(len(self.chunks)):
                steps = int(self._steps[chunk])
                if step < steps:
                    yield chunk, noise + _APART * (self._number + chunk), steps, step
                step = max(0, step - steps)

    @contextlib.contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raises the InputError of a damaged shard where TensorFlow would raise an error of it."""
        try:
            yield
        except tf.errors.OpError:
            if self._error is not None:
                raise self._error from None
            raise

    @property
    def _columns(self):
        return [self.fields.width] if len(self.fields) else []

    def _load(self, chunk):
        try:
            shards, periods = self.chunks[int(chunk)], self.split.periods
            events = periods.read(self.prepared, shards, self.ids, self.fields)
        except InputError as error:
            self._error = error
            raise
        starts, stops = events.training_windows(self.window)
        weights = []
        if events.target_weights is not None:
            weights = [(events.target_weights * self._factor).astype("float32")]
        lengths = stops + self.make_batch.more - starts
        return self.fields.rows(events), starts, lengths, *weights


def _chunks(prepared, shards):
    return list(shards), sum(prepared.events_of(shard) for shard in shards)
