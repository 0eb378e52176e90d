"""What pretraining reads of a log: all of it in memory, or a prepared folder a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.log import Log
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.prepared.splits import (
    EVERYTHING,
    Periods,
    PreparedSplit,
    count_split,
    find_periods,
)
from keras_peterrec.log.seen_items import keeps_seen, share_of_repeats, what_is_seen
from keras_peterrec.log.sequences import Sequences
from keras_peterrec.log.splits import LAST, EventSplit, all_events, bad_moment, split_events
from keras_peterrec.log.streamed_batches import CHUNK_EVENTS
from keras_peterrec.log.vocabulary import FIRST_ITEM, Vocabulary

# Of a log that is not held in memory: users, and users times items, all of which are ranked.
MEASURED_USERS, MEASURED_SCORES = 20_000, 2 * 10**10
LEAST_MEASURED = 1_000
VALIDATION_USERS = 5_000  # of any log
STEPS = 10_000  # of an epoch of such a log, unless it has less


@dataclass(frozen=True)
class PretrainingLog:
    """A log with its vocabulary, and the users that are looked at as a whole.

    Args:
        sequences: Sequences of all users, or of a random part of them if the log is larger than
            a chunk of `StreamedBatches`. These users validate and test, and the linear part is
            fitted to them.
        vocabulary: Vocabulary.
        counts: int array `[V - 4]`. How often training sees each item.
        summary: dict. What `metrics.json` says of the data.
        prepared: PreparedLog that training streams from, or `None`. Defaults to `None`.
        prepared_split: PreparedSplit of it, or `None`. Defaults to `None`.
        ids: int32 array or `None`. From the ids of its records to those of the vocabulary. Defaults
            to `None`.
        chunk_events: int. See `StreamedBatches`. Defaults to `CHUNK_EVENTS`.
        keep_seen: bool. Whether the host answers with items of the history; see `deciding`.
            Defaults to `False`.
    """

    sequences: Sequences
    vocabulary: Vocabulary
    counts: np.ndarray
    summary: dict
    prepared: PreparedLog | None = None
    prepared_split: PreparedSplit | None = None
    ids: np.ndarray | None = None
    chunk_events: int = CHUNK_EVENTS
    keep_seen: bool = False

    @classmethod
    def of(cls, log: Log | PreparedLog, min_count: int, split: str = LAST) -> PretrainingLog:
        """The PretrainingLog of a Log or a PreparedLog.

        Args:
            log: Log or PreparedLog.
            min_count: int. Items that training sees less often become unknown.
            split: str. See `split_events`. Defaults to `"last"`.

        Raises:
            InputError: training, validation or test would have no event, or no item is left.
        """
        if isinstance(log, PreparedLog):
            return cls._of_prepared(log, min_count, split)
        return cls._of_log(log, min_count, split_events(log, split))

    @classmethod
    def of_all(cls, log: Log | PreparedLog, min_count: int) -> PretrainingLog:
        """The same of a log all of whose events are trained on."""
        if isinstance(log, PreparedLog):
            return cls._of_prepared(log, min_count, EVERYTHING)
        lengths = np.bincount(log.users, minlength=len(log.user_ids))
        return cls._of_log(log, min_count, all_events(lengths))

    @classmethod
    def _of_log(cls, log, min_count, split):
        with progress.stage("counting items, and each user's events in order", brief=True):
            trained = training_counts(log, split)
            return cls(*encode_log(log, min_count, trained, split), log_summary(log, trained))

    @classmethod
    def _of_prepared(cls, prepared, min_count, split):
        if split == LAST:
            _check_lengths(prepared.lengths()[1], prepared.users)
        found = count_split(prepared, split)
        with progress.stage(f"reading {prepared.path}") as said:
            vocabulary, counts, ids = prepared.vocabulary(min_count, found.counts)
            sequences, most = _measured(prepared, ids, found.periods)
            said(f"{len(sequences.items):,} of {prepared.events:,} events")
        if split == LAST:
            _check_lengths(sequences.lengths, len(sequences))
        elif split != EVERYTHING and not sequences.split.asks_all:
            raise bad_moment(split, *prepared.times())
        unseen = int((found.counts == 0).sum())
        summary = {**prepared.summary(), "items_only_held_out": unseen}
        if most:
            summary["users_measured"] = most
        streams = {"prepared": prepared, "prepared_split": found, "ids": ids}
        return cls(sequences, vocabulary, counts, summary, **streams, chunk_events=CHUNK_EVENTS)

    @property
    def most_measured(self) -> int | None:
        """How many users are measured at most; `None` for all."""
        return self.summary.get("users_measured")

    @property
    def most_validated(self) -> int:
        """How many users validate at most."""
        return min(VALIDATION_USERS, self.most_measured or VALIDATION_USERS)

    def deciding(self, keep_seen: bool | None) -> PretrainingLog:
        """This log with `keep_seen` as it is asked for, or else as its own events tell.

        Args:
            keep_seen: bool, or `None`; see `keeps_seen`.
        """
        share = share_of_repeats(self.sequences)
        kept = keeps_seen(share) if keep_seen is None else keep_seen
        told = {"truths_in_history": round(share, 6), "keep_seen": kept}
        return replace(self, keep_seen=kept, summary={**self.summary, **told})

    def training_parts(self) -> Iterator[Sequences]:
        """All users, a chunk of them at a time where they stream."""
        if self.prepared is None or self.most_measured is None:
            yield self.sequences
            return
        shards, periods = list(range(self.prepared.shards)), self.prepared_split.periods
        while shards:
            taken, events = [], 0
            while shards and events < self.chunk_events:
                taken.append(shards.pop(0))
                events += self.prepared.events_of(taken[-1])
            yield training_part(self.prepared, self.ids, taken, periods)

    def steps_of_epoch(self, batches: Any, asked: int | None) -> int:
        """Steps of an epoch: those asked for, or all batches once, if they are not very many."""
        steps = int(batches.cardinality())
        if asked is None and self.most_measured and steps > STEPS:
            progress.line(
                f"an epoch is {STEPS:,} of the {steps:,} steps that read every event once "
                "(--steps-per-epoch)"
            )
            return STEPS
        return asked or steps

    def say_what_is_left_out(self, keep_seen: bool | None) -> None:
        """Prints what the log has and the host will not know, answer, or be measured on.

        Args:
            keep_seen: see `deciding`.
        """
        if keep_seen is None and (said := what_is_seen(self.summary)):
            progress.line(said)
        unknown = self.summary["items_only_held_out"]
        if unknown:
            progress.line(
                f"{unknown:,} of {self.summary['items']:,} items are unknown to the host: only the "
                "events that are kept for validation and test have them"
            )
        if self.most_measured:
            progress.line(
                f"training streams all {self.summary['users']:,} users; {self.most_measured:,} "
                f"of them validate and test, and the linear part is fitted to "
                f"{len(self.sequences):,}"
            )


def training_part(
    prepared: PreparedLog, ids: np.ndarray, shards: Sequence[int], periods: Periods
) -> Sequences:
    """The Sequences of some shards, with what is trained on alone: no users, times or weights.

    Args:
        prepared: PreparedLog.
        ids: int32 array `[I + 4]`, from the ids of its records to others.
        shards: sequence of int.
        periods: Periods, which split them.
    """
    found = prepared.read(shards, times=periods.reads_times)
    arrays = None, ids[found.items], None, found.offsets, None
    return Sequences.of_arrays(*arrays, periods.events(found))


def measured_sequences(
    log: Log | PreparedLog, vocabulary: Vocabulary, split: str = LAST
) -> tuple[Sequences, int | None]:
    """The users of a log that are looked at as a whole, and how many of them are measured.

    Args:
        log: Log or PreparedLog.
        vocabulary: Vocabulary.
        split: str. See `split_events`. Defaults to `"last"`.

    Returns:
        Sequences and `None`, which is all of them; or, for a prepared log larger than a chunk, the
        Sequences of a random part of its users, and the most users that are measured.
    """
    if not isinstance(log, PreparedLog):
        return Sequences(log, vocabulary, split=split_events(log, split)), None
    return _measured(log, log.ids_in(vocabulary), find_periods(log, split))


def _measured(prepared, ids, periods):
    sequences = prepared.sequences(ids, prepared.sample(CHUNK_EVENTS), periods)
    if len(sequences) == prepared.users:
        return sequences, None
    affordable = max(LEAST_MEASURED, MEASURED_SCORES // (len(ids) - FIRST_ITEM))
    return sequences, min(MEASURED_USERS, affordable, len(sequences))


def log_summary(log: Log, trained: np.ndarray) -> dict:
    """What `metrics.json` says of a Log, given its `training_counts`."""
    return {
        "fingerprint": log.fingerprint(),
        "users": len(log.user_ids),
        "items": len(log.item_ids),
        "items_only_held_out": int((trained == 0).sum()),
        "events": len(log),
    }


def training_counts(log: Log, split: EventSplit) -> np.ndarray:
    """How often each item of a log is in events that training sees.

    Args:
        log: Log.
        split: EventSplit of its users.

    Returns:
        int array `[I]`, in the order of `log.item_ids`.
    """
    order = np.lexsort((log.timestamps, log.users))
    lengths = np.bincount(log.users, minlength=len(log.user_ids))
    place = np.arange(len(log)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    trained = place < np.repeat(split.trained, lengths)
    return np.bincount(log.items[order][trained], minlength=len(log.item_ids))


def encode_log(
    log: Log,
    min_count: int = 1,
    counts: np.ndarray | None = None,
    split: EventSplit | None = None,
) -> tuple:
    """Sequences, vocabulary and training counts of a log.

    Args:
        log: Log.
        min_count: int. Items that training sees less often become unknown. Defaults to `1`.
        counts: int array or `None`. The log's `training_counts`, if they are known. Defaults to
            `None`.
        split: EventSplit or `None`. Defaults to `None`, that of `split_events`.

    Returns:
        Sequences, Vocabulary and an int array `[V - 4]` of counts.

    Raises:
        InputError: see `split_events`.
    """
    split = split_events(log) if split is None else split
    counts = training_counts(log, split) if counts is None else counts
    vocabulary = Vocabulary.from_counts(log.item_ids, counts, min_count=min_count)
    counts_by_item = dict(zip(log.item_ids, counts))
    return (
        Sequences(log, vocabulary, split=split),
        vocabulary,
        np.array([counts_by_item[item] for item in vocabulary.items]),
    )


def _check_lengths(lengths, users):
    if lengths.max() < 4:  # one input and one target, validation, test
        raise InputError(
            "`log` should have a user with at least four events. "
            f"Received: {users} users with at most {lengths.max()}."
        )
