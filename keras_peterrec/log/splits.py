"""Which events of a log are for training, validation and test of the next item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.column_names import field_and_values
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.event_split import (
    EventSplit,
    PlacesOfAsked,
    all_events,
    events_by_time,
)
from keras_peterrec.log.events import Events, ShardedLog
from keras_peterrec.log.field_kind import field_of
from keras_peterrec.log.moments import in_clock, is_moment

LAST, USERS = "last", "users"  # the settings `split` of pretrain and of transfer, without a time
EVERYTHING = "everything"  # a split of events that holds nothing out
# The share of the events before a moment that is trained on; the latest tenth is for validation.
TRAINED_SHARE = 0.9
BINS = 2**20  # of times, which tell where validation begins


@dataclass(frozen=True)
class AskedEvents:
    """The events with some values of a field, such as purchases: `event_type=buy`.

    Histories have all events; training and measuring ask for these alone.

    Example:

    >>> AskedEvents.parse("event_type=cart,buy").values
    ('cart', 'buy')
    """

    field: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: Any) -> AskedEvents:
        """`"event_type=cart,buy"` as an object; InputError for another form."""
        return cls(*field_and_values(text))

    def __str__(self) -> str:
        return f"{self.field}={','.join(self.values)}"

    def mask(self, events: Events) -> np.ndarray:
        """Which events they are, bool `[N]`; InputError if the log lacks the column."""
        field = field_of(events, self.field)
        wanted = np.array([*(value in self.values for value in field.values), False])
        return wanted[field.codes]  # -1, a missing one, is the last


@dataclass(frozen=True)
class Periods:
    """How each user's events are split for the training and the test of the next item.

    By time, training sees the first 90 % of the events before the moment. The rest of these are for
    validation, each user's first one, and of the events from the moment on each user's first one is
    the test. Users without an event before theirs are not asked.

    Args:
        split: str. `"last"`, see `last_events`; `"everything"`, which holds nothing out; or
            `"time:MOMENT"`, see `in_clock`.
        bounds: where validation and the test begin, of a split by time; else `None`.
    """

    split: str
    bounds: tuple | None = None

    @property
    def reads_times(self) -> bool:
        """Whether it is asked of the timestamps."""
        return self.bounds is not None

    def events(self, events: Events) -> EventSplit:
        """The EventSplit of some Events."""
        if self.bounds is None and self.split != LAST:
            return all_events(events.lengths)
        if self.bounds is None:
            return events.last_events()
        trained, before = (_before(events, bound) for bound in self.bounds)
        if events.asked is not None:
            places = PlacesOfAsked(events.offsets, events.asked)
            asked = places.first_of(trained, before), places.first_of(before, events.lengths)
            return EventSplit(trained, *asked)
        return events_by_time(trained, before, events.lengths)

    def read(
        self,
        log: ShardedLog,
        shards: Sequence[int],
        ids: np.ndarray,
        fields: EventFields | None = None,
    ) -> Events:
        """The Events of some shards, split, with no more than training needs of them.

        `ids` has a number for each item of the log, int32 `[I]`; `fields` are read of the events.
        """
        times = self.reads_times or (fields is not None and fields.read_times)
        events = log.read(shards, times=times, fields=fields is not None and bool(fields.columns))
        return events.renumbered(ids, self.events(events))

    def check(self, found: EventSplit, log: ShardedLog) -> None:
        """Raises InputError if an EventSplit of a log leaves training, validation or test empty."""
        longest = max(found.test.max() + 1, found.trained.max())
        if self.split == LAST and longest < 4:  # one input and one target, validation, test
            raise InputError(
                "`log` should have a user with at least four events. "
                f"Received: {log.user_count} users with at most {longest}."
            )
        if self.reads_times and not found.asks_all:
            self._refuse_moment(found, log)
        if self.split == LAST and not found.asks_all:
            raise InputError(
                "`log` should have users with at least two of the events to predict, and others "
                f"before them. Received: {log.user_count} users, none of whom has."
            )

    def _refuse_moment(self, found, log):
        """Raises the InputError of a moment that leaves training, validation or test empty."""
        low, high = log.times()
        begin, moment = self.bounds
        error = bad_moment(self.split, low, high)
        if high < moment:
            raise error
        if (found.test < 0).all():
            missing = "before it and one to predict from it on"
        elif (found.validation < 0).all():
            missing = f"before {begin} and one to predict between then and the moment"
        else:  # training has nothing to predict
            raise error
        raise InputError(
            f"`split` should be a moment with users on both sides: no user has events {missing}. "
            "Where each user is one session, use --split last. "
            f"Received: {self.split!r} for timestamps from {low} to {high}."
        )


@dataclass(frozen=True)
class SplitCounts:
    """What a split of all events of a log comes to.

    Args:
        counts: int64 array `[I]`. How often training sees each item of the log.
        shard, trained, users: int64 arrays of equal length. So many users of a shard have so many
            events that training sees.
        target_weight: what the weights of all targets of training add up to; `None` where the log
            has none.
    """

    periods: Periods
    counts: np.ndarray
    shard: np.ndarray
    trained: np.ndarray
    users: np.ndarray
    target_weight: float | None = None

    @property
    def targets(self) -> int:
        """How many events training predicts."""
        return int(np.sum(self.users * np.maximum(self.trained - 1, 0)))


def count_split(log: ShardedLog, split: str = LAST) -> SplitCounts:
    """What a split of a log comes to, see `Periods`; shards are not read where that is known.

    Raises:
        InputError: training, validation or test would have no event, or a shard is damaged.
    """
    kept = log.kept_split(split)
    return _count(log, find_periods(log, split)) if kept is None else kept


def find_periods(log: ShardedLog, split: str) -> Periods:
    """The Periods of a split; see `count_split`."""
    if not is_moment(split):
        return Periods(split)
    kept = log.kept_split(split)
    return Periods(split, bounds_of(log, split)) if kept is None else kept.periods


def bounds_of(log: ShardedLog, split: str) -> tuple:
    """When validation begins, so that 90 % of the events before the moment lie before it, and the
    moment, which begins the test.

    Raises:
        InputError: no event lies before the moment.
    """
    low, high = log.times()
    moment = in_clock(split, np.array([low, high]))
    if not low < moment:
        raise bad_moment(split, low, high)
    width = max(1, -(-(moment - low) // BINS))
    counts = np.zeros(BINS + 1, "int64")
    with progress.stage(f"looking for {split}", brief=True) as found:
        for shard in range(log.shards):
            times = log.read_times(shard)
            places = np.maximum(times[times < moment] - low, 0) // width
            counts += np.bincount(places.astype("int64"), minlength=BINS + 1)
        rank = int(TRAINED_SHARE * int(counts.sum()))
        passed = np.cumsum(counts)
        place = int(np.searchsorted(passed, rank, side="right"))
        rank -= int(passed[place] - counts[place])  # among the times of this bin
        values, repeats = np.zeros(0, np.asarray(low).dtype), np.zeros(0, "int64")
        for shard in range(log.shards):
            times = log.read_times(shard)
            here = times[(times < moment) & (np.maximum(times - low, 0) // width == place)]
            values, codes = np.unique(np.concatenate([values, here]), return_inverse=True)
            more = np.concatenate([repeats, np.ones(len(here), "int64")])
            repeats = np.bincount(codes, more, len(values)).astype("int64")
        begin = values[np.searchsorted(np.cumsum(repeats), rank, side="right")]
        found(f"validation begins at {begin}")
    return begin, moment


def _count(log, periods):
    """The SplitCounts of all shards, one in memory at a time."""
    counts, rows, largest = np.zeros(len(log.item_ids), "int64"), [], []
    weight = 0.0 if log.weighted else None
    with progress.bar(f"counting {periods.split}", log.shards) as advance:
        for shard in range(log.shards):
            events = log.read([shard], times=periods.reads_times)
            split = periods.events(events)
            seen = events.items[events.places < np.repeat(split.trained, events.lengths)]
            counts += np.bincount(seen[seen >= 0], minlength=len(counts))
            values, users = np.unique(split.trained, return_counts=True)
            rows.append([np.full(len(values), shard), values, users])
            parts = (split.trained, 0), (split.validation, -1), (split.test, -1)
            largest.append([part.max(initial=none) for part, none in parts])
            if weight is not None:
                weight += target_weight(events.target_weights, events.offsets, split.trained)
            advance()
    periods.check(EventSplit(*np.transpose(largest)), log)
    shard, trained, users = np.concatenate(rows, axis=1).astype("int64")
    return SplitCounts(periods, counts, shard, trained, users, weight)


def target_weight(weights: np.ndarray, offsets: np.ndarray, trained: np.ndarray) -> float:
    """The sum of the weights of all targets of training: each user's events after the first.

    Training sees the first `trained` events, `[U]`, of each user.
    """
    passed = np.concatenate([[0.0], np.cumsum(weights, dtype="float64")])
    firsts = offsets[:-1] + np.minimum(trained, 1)
    return float(np.sum(passed[offsets[:-1] + trained] - passed[firsts]))


def mean_one_factor(targets: int, weight: float) -> float:
    """What weights of so many targets, of this sum, are multiplied with, so that their mean is 1.

    Raises:
        InputError: the sum is nothing.
    """
    if weight <= 0:
        raise InputError(
            "`weight_column` should be above 0 in events that train, and `predict` ask for some of "
            "them. Received: 0 in all but those kept for validation and test."
        )
    return targets / weight


def events_before(events: Events, split: str) -> np.ndarray:
    """How many events of each user of some Events come before a moment, int64 `[U]`."""
    return _before(events, in_clock(split, events.timestamps))


def _before(events, bound):
    """How many events of each user come before a time."""
    passed = np.concatenate([[0], np.cumsum(events.timestamps < bound)])
    return np.diff(passed[events.offsets])


def bad_moment(split: str, low: Any, high: Any) -> InputError:
    """The error of a moment that leaves a part of the log empty, given its first and last time."""
    return InputError(
        "`split` should leave events for training, validation and test on both sides of its "
        f"moment. Received: {split!r} for timestamps from {low} to {high}."
    )
