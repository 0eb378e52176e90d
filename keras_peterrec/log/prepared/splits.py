"""Which events of a prepared log training sees, counted over all of its shards.

The items of a prepared log are counted as if every user's last two events were held out. A split by
time, and training on everything, count otherwise: a shard at a time is read for that, and what a
split by time comes to can be kept in the folder.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.files.weights_file import DAMAGED, read_arrays
from keras_peterrec.log.moments import in_clock, is_moment
from keras_peterrec.log.prepared.format import read_bytes, write_bytes
from keras_peterrec.log.sequences import target_weight
from keras_peterrec.log.splits import (
    LAST,
    EventSplit,
    all_events,
    bad_moment,
    events_by_time,
    last_events,
    trained_events,
)
from keras_peterrec.log.vocabulary import FIRST_ITEM

EVERYTHING = "everything"  # a split that holds nothing out
BINS = 2**20  # of times, which tell where validation begins


@dataclass(frozen=True)
class Periods:
    """How each user's events are split.

    Args:
        split: str. `"last"`, `"everything"` or `"time:MOMENT"`.
        bounds: where validation and the test begin, of a split by time; else `None`.
    """

    split: str
    bounds: tuple | None = None

    @property
    def reads_times(self) -> bool:
        """Whether it is asked of the timestamps."""
        return self.bounds is not None

    def events(self, histories: Any) -> EventSplit:
        """The EventSplit of some Histories."""
        lengths = np.diff(histories.offsets)
        if self.bounds is None:
            return last_events(lengths) if self.split == LAST else all_events(lengths)
        passed = (_before(histories, bound) for bound in self.bounds)
        return events_by_time(*passed, lengths)


@dataclass(frozen=True)
class PreparedSplit:
    """What a split of a prepared log comes to.

    Args:
        periods: Periods.
        counts: int64 array `[I]`. How often training sees each item of the log.
        shard, trained, users: int64 arrays of equal length. So many users of a shard have so many
            events that training sees.
        target_weight: float or `None`. What the weights of all targets of training add up to;
            `None` where the log has none.
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


def count_split(prepared: Any, split: str) -> PreparedSplit:
    """What a split comes to; without reading the shards where that is known.

    Args:
        prepared: PreparedLog.
        split: str; see `Periods`.

    Raises:
        InputError: training, validation or test would have no event, or a shard is damaged.
    """
    if is_moment(split):
        kept = _kept(prepared, split)
        return _count(prepared, _periods_by_time(prepared, split)) if kept is None else kept
    shard, length, users = prepared.lengths()
    if split == LAST:
        weight = prepared.target_weight()
        return PreparedSplit(
            Periods(LAST), prepared.counts, shard, last_events(length).trained, users, weight
        )
    if prepared.weighted:
        return _count(prepared, Periods(split))
    return PreparedSplit(Periods(split), prepared.all_counts, shard, length, users)


def find_periods(prepared: Any, split: str) -> Periods:
    """The Periods of a split; see `count_split`."""
    if not is_moment(split):
        return Periods(split)
    kept = _kept(prepared, split)
    return _periods_by_time(prepared, split) if kept is None else kept.periods


def keep_split(prepared: Any, split: str) -> None:
    """Writes what a split by time comes to into the folder, so that training need not count."""
    if _kept(prepared, split) is not None:
        return
    found = count_split(prepared, split)
    buffer = io.BytesIO()
    weight = {} if found.target_weight is None else {"target_weight": found.target_weight}
    np.savez(
        buffer,
        log=np.array(prepared.fingerprint()),
        bounds=np.array(found.periods.bounds),
        counts=found.counts,
        shard=found.shard.astype("<i4"),
        trained=found.trained.astype("<i4"),
        users=found.users.astype("<i4"),
        **weight,
    )
    write_bytes(prepared.path, _file_name(prepared, split), buffer.getvalue())


def _kept(prepared, split):
    """The PreparedSplit that the folder has, or `None`."""
    try:
        content = read_bytes(prepared.path, _file_name(prepared, split))
        kept = read_arrays(io.BytesIO(content), len(content))
        if kept["log"] != prepared.fingerprint():
            return None
    except (OSError, KeyError, *DAMAGED):  # counted anew
        return None
    weight = float(kept["target_weight"]) if "target_weight" in kept else None
    parts = (kept[name].astype("int64") for name in ("counts", "shard", "trained", "users"))
    return PreparedSplit(Periods(split, tuple(kept["bounds"])), *parts, weight)


def _file_name(prepared, split):
    return f"split-{in_clock(split, np.array(prepared.times()))}.npz"


def _periods_by_time(prepared, split):
    """Validation begins at the time before which 90 % of the events before the moment lie."""
    low, high = prepared.times()
    moment = in_clock(split, np.array([low, high]))
    if not low < moment:
        raise bad_moment(split, low, high)
    width = max(1, -(-(moment - low) // BINS))
    counts = np.zeros(BINS + 1, "int64")
    with progress.stage(f"looking for {split}") as found:
        for times in _times(prepared):
            places = np.maximum(times[times < moment] - low, 0) // width
            counts += np.bincount(places.astype("int64"), minlength=BINS + 1)
        rank = trained_events(int(counts.sum()))
        passed = np.cumsum(counts)
        place = int(np.searchsorted(passed, rank, side="right"))
        rank -= int(passed[place] - counts[place])  # among the times of this bin
        values, repeats = np.zeros(0, np.asarray(low).dtype), np.zeros(0, "int64")
        for times in _times(prepared):
            here = times[(times < moment) & (np.maximum(times - low, 0) // width == place)]
            values, codes = np.unique(np.concatenate([values, here]), return_inverse=True)
            more = np.concatenate([repeats, np.ones(len(here), "int64")])
            repeats = np.bincount(codes, more, len(values)).astype("int64")
        begin = values[np.searchsorted(np.cumsum(repeats), rank, side="right")]
        found(f"validation begins at {begin}")
    return Periods(split, (begin, moment))


def _times(prepared):
    for shard in range(prepared.shards):
        yield prepared.read_times(shard)


def _count(prepared, periods):
    """A PreparedSplit out of all shards, one in memory at a time."""
    counts = np.zeros(FIRST_ITEM + len(prepared.counts), "int64")
    rows, weight = [], 0.0 if prepared.weighted else None
    asks = np.zeros(2, bool)
    with progress.bar(f"counting {periods.split}", prepared.shards) as advance:
        for shard in range(prepared.shards):
            found = prepared.read([shard], times=periods.reads_times)
            split = periods.events(found)
            lengths = np.diff(found.offsets)
            place = np.arange(len(found.items)) - np.repeat(found.offsets[:-1], lengths)
            seen = found.items[place < np.repeat(split.trained, lengths)]
            counts += np.bincount(seen, minlength=len(counts))
            values, users = np.unique(split.trained, return_counts=True)
            rows.append([np.full(len(values), shard), values, users])
            asks |= [(split.validation >= 0).any(), (split.test >= 0).any()]
            if weight is not None:
                weight += target_weight(found.weights, found.offsets, split.trained)
            advance()
    shard, trained, users = np.concatenate(rows, axis=1).astype("int64")
    if periods.reads_times and not (asks.all() and trained.max() >= 2):
        raise bad_moment(periods.split, *prepared.times())
    return PreparedSplit(periods, counts[FIRST_ITEM:], shard, trained, users, weight)


def _before(histories, bound):
    """How many events of each user come before a time; they are in order of time."""
    passed = np.concatenate([[0], np.cumsum(histories.timestamps < bound)])
    return np.diff(passed[histories.offsets])
