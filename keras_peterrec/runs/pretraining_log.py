"""What pretraining reads of a log: all of it in memory, or a prepared folder a part at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.events import Events, ShardedLog
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.seen_items import share_of_repeats, what_is_seen
from keras_peterrec.log.splits import EVERYTHING, LAST, SplitCounts, count_split, find_periods
from keras_peterrec.log.streamed_batches import CHUNK_EVENTS
from keras_peterrec.log.vocabulary import Vocabulary, count_items, counted_vocabulary

# Of a log that is not held in memory: users, and users times items, all of which are ranked.
MEASURED_USERS, MEASURED_SCORES = 20_000, 2 * 10**10
LEAST_MEASURED = 1_000
VALIDATION_USERS = 5_000  # of any log
STEPS = 10_000  # of an epoch of such a log, unless it has less


@dataclass(frozen=True)
class PretrainingLog:
    """A log with its vocabulary, and the users that are looked at as a whole.

    Args:
        sequences: Events, encoded, of all users, or of a random part of them if the log is larger
            than a chunk of `StreamedBatches`. These users validate and test, and the linear part is
            fitted to them.
        counts: int array `[V - 4]`. How often training sees each item.
        summary: dict. What `metrics.json` says of the data.
        prepared: PreparedLog that training streams from, or `None`. Defaults to `None`.
        counted: SplitCounts of all events, or `None`. Defaults to `None`.
        ids: int32 array or `None`. The vocabulary's id of each item of the log. Defaults to `None`.
        chunk_events: int. See `StreamedBatches`. Defaults to `CHUNK_EVENTS`.
        keep_seen: bool. Whether the host answers with items of the history; see `deciding`.
            Defaults to `False`.
        fields: EventFields. What the host reads of an event beside its item; see `reading`.
            Defaults to `EventFields()`, nothing.
        min_count: int. Items that training sees less often are unknown. Defaults to `1`.
    """

    sequences: Events
    vocabulary: Vocabulary
    counts: np.ndarray
    summary: dict
    prepared: PreparedLog | None = None
    counted: SplitCounts | None = None
    ids: np.ndarray | None = None
    chunk_events: int = CHUNK_EVENTS
    keep_seen: bool = False
    fields: EventFields = EventFields()
    min_count: int = 1

    @classmethod
    def of(cls, log: ShardedLog, min_count: int, split: str = LAST) -> PretrainingLog:
        """The PretrainingLog of a log in memory or of one that was prepared.

        Args:
            min_count: int. Items that training sees less often become unknown.
            split: str. See `Periods`. Defaults to `"last"`.

        Raises:
            InputError: training, validation or test would have no event, or no item is left.
        """
        counted = count_split(log, split)
        prepared = log if isinstance(log, PreparedLog) else None
        with progress.stage(f"reading {log.setting_name}", brief=prepared is None) as said:
            vocabulary, counts, ids = counted_vocabulary(log.item_ids, counted.counts, min_count)
            sequences, most = _measured(log, vocabulary, counted.periods, ids)
            said(f"{len(sequences):,} of {len(log):,} events")
        summary = log_summary(log, counted.counts)
        if most:
            summary["users_measured"] = most
        more = prepared, counted, ids, CHUNK_EVENTS
        return cls(sequences, vocabulary, counts, summary, *more, min_count=min_count)

    @classmethod
    def of_all(cls, log: ShardedLog, min_count: int) -> PretrainingLog:
        """The same of a log all of whose events are trained on."""
        return cls.of(log, min_count, EVERYTHING)

    @functools.cached_property
    def target_counts(self) -> np.ndarray:
        """How often training may predict each item, int array `[V - 4]`.

        Where some events alone are asked for, of the users that are looked at as a whole.
        """
        if self.sequences.asked is None:
            return self.counts
        return trained_counts(self.sequences, len(self.counts))

    @property
    def most_measured(self) -> int | None:
        """How many users are measured at most; `None` for all."""
        return self.summary.get("users_measured")

    @property
    def most_validated(self) -> int:
        """How many users validate at most."""
        return min(VALIDATION_USERS, self.most_measured or VALIDATION_USERS)

    def deciding(self, keep_seen: bool) -> PretrainingLog:
        """This log with `keep_seen`, and in its summary the share of targets in the history."""
        share = round(share_of_repeats(self.sequences), 6)
        told = {"truths_in_history": share, "keep_seen": keep_seen}
        return replace(self, keep_seen=keep_seen, summary={**self.summary, **told})

    def reading(self, fields: EventFields) -> PretrainingLog:
        """This log with what a host reads of its events beside their items."""
        told: dict[str, Any] = {"fields": fields.names} if len(fields) else {}
        if self.sequences.asked is not None:
            told["events_to_predict"] = int(self.sequences.asked.sum())
        return replace(self, fields=fields, summary={**self.summary, **told})

    def training_parts(self) -> Iterator[Events]:
        """All users, a chunk of them at a time where they stream."""
        if self.prepared is None or self.most_measured is None:
            yield self.sequences
            return
        shards, periods = list(range(self.prepared.shards)), self.counted.periods
        while shards:
            taken, events = [], 0
            while shards and events < self.chunk_events:
                taken.append(shards.pop(0))
                events += self.prepared.events_of(taken[-1])
            yield periods.read(self.prepared, taken, self.ids)

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

    def say_what_is_read(self, times: bool) -> None:
        """Prints what the host reads of an event beside its item, where a person may wonder.

        Args:
            times: bool. Whether times were asked for.
        """
        if times and not self.fields.read_times:
            progress.line(
                "the timestamps tell an order and not when an event was, so the network reads no "
                "times"
            )
        for field in self.fields.of_columns:
            progress.line(f"the network reads the column {field.name}: {field.described()}")

    def say_what_is_left_out(self, keep_seen: bool | None) -> None:
        """Prints what the log has and the host will not know, answer, or be measured on.

        Args:
            keep_seen: bool or `None`. What was asked for; `None`, it was decided.
        """
        if keep_seen is None and (said := what_is_seen(self.summary)):
            progress.line(said)
        items, unknown = self.summary["items"], self.summary["items_only_held_out"]
        if unknown:
            progress.line(
                f"{unknown:,} of {items:,} items are unknown to the host: only the "
                "events that are kept for validation and test have them"
            )
        if rare := items - unknown - len(self.counts):
            share = 1 - self.counts.sum() / self.counted.counts.sum()
            progress.line(
                f"{rare:,} of {items:,} items, with {100 * share:.3g} % of what is trained on, are "
                f"unknown to the host: training has fewer than {self.min_count} events of each"
            )
        if self.most_measured:
            progress.line(
                f"training streams all {self.summary['users']:,} users; {self.most_measured:,} "
                f"of them validate and test, and the linear part is fitted to "
                f"{self.sequences.user_count:,}"
            )


def measured_sequences(
    log: ShardedLog, vocabulary: Vocabulary, split: str = LAST
) -> tuple[Events, int | None]:
    """The users of a log that are looked at as a whole, and how many of them are measured.

    Args:
        split: str. See `Periods`. Defaults to `"last"`.

    Returns:
        Events, encoded, and `None`, which is all of them; or, for a log larger than a chunk, the
        Events of a random part of its users, and the most users that are measured.
    """
    return _measured(log, vocabulary, find_periods(log, split))


def _measured(log, vocabulary, periods, ids=None):
    shards = _first_shards(log, CHUNK_EVENTS)
    events = log.read(shards, times=True, users=True, fields=bool(log.fields))
    sequences = events.encode(vocabulary, split=periods.events(events), ids=ids)
    periods.check(sequences.split, log)
    if sequences.user_count == log.user_count:
        return sequences, None
    affordable = max(LEAST_MEASURED, MEASURED_SCORES // len(vocabulary.items))
    return sequences, min(MEASURED_USERS, affordable, sequences.user_count)


def _first_shards(log, events):
    """The first shards that have so many events together, a random part of the users."""
    total = np.cumsum([log.events_of(shard) for shard in range(log.shards)])
    return range(min(log.shards, 1 + int(np.searchsorted(total, events))))


def trained_counts(sequences: Events, items: int) -> np.ndarray:
    """How often each item of the vocabulary is in events that training may predict, `[items]`."""
    return count_items(sequences.items[sequences.predicted], items)


def log_summary(log: ShardedLog, trained: np.ndarray) -> dict:
    """What `metrics.json` says of a log, given how often training sees each of its items."""
    return {
        "fingerprint": log.fingerprint(),
        "users": log.user_count,
        "items": len(log.item_ids),
        "items_only_held_out": int((trained == 0).sum()),
        "events": len(log),
    }


def encode_log(
    log: ShardedLog, min_count: int = 1, split: str = LAST
) -> tuple[Events, Vocabulary, np.ndarray]:
    """A log with the ids of its own vocabulary, that vocabulary, and its items' training counts.

    Args:
        log: ShardedLog, an Events or a PreparedLog.
        min_count: int. Items that training sees less often become unknown. Defaults to `1`.
        split: str. See `Periods`. Defaults to `"last"`.

    Returns:
        Events, Vocabulary and an int array `[V - 4]` of counts.

    Raises:
        InputError: see `PretrainingLog.of`.

    Example:

    >>> sequences, vocabulary, counts = encode_log(log)
    >>> len(counts) == len(vocabulary.items)
    True
    """
    read = PretrainingLog.of(log, min_count, split)
    return read.sequences, read.vocabulary, read.counts
