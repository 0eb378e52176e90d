"""Examples of a task: whose history, up to where, and the answer."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.integers import counted_up, offsets_of
from keras_peterrec.log.clocks import UNITS, in_seconds, unit_of
from keras_peterrec.log.events import Events
from keras_peterrec.log.vocabulary import Vocabulary

# Clocks that are so many times apart are probably not the same.
CLOCK_FACTOR = 500.0


@dataclass(frozen=True)
class ItemLists:
    """A list of items for each row: row `r` has `items[offsets[r]:offsets[r + 1]]`.

    One row with thousands of items costs the others nothing, as it would in a padded array.
    Offsets are int64 `[E + 1]`, items int32 ids `[N]`; weights float32 `[N]`, how much each item
    counts in a loss, or `None`, all alike.

    Example:

    >>> lists = ItemLists.of([[7, 5], [], [9]])
    >>> lists[0].tolist(), lists.lengths.tolist(), lists.rows.tolist()
    ([7, 5], [2, 0, 1], [0, 0, 2])
    >>> lists[np.array([2, 0])].items.tolist()
    [9, 7, 5]
    """

    offsets: np.ndarray
    items: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "ItemLists":
        """The ItemLists of a list of lists."""
        offsets = offsets_of(np.array([len(items) for items in lists], "int64"))
        return cls(offsets, np.concatenate([[], *lists]).astype("int32"))

    def __len__(self) -> int:
        """The number of rows E."""
        return len(self.offsets) - 1

    def __getitem__(self, chosen: Any) -> Any:
        """The items of one row; or the ItemLists of some, for a mask or an array of row numbers."""
        if isinstance(chosen, (int, np.integer)):
            if not -len(self) <= chosen < len(self):
                raise IndexError(chosen)  # also ends a loop over the rows
            row = chosen % len(self)
            return self.items[self.offsets[row] : self.offsets[row + 1]]
        starts, lengths = self.offsets[:-1][chosen], self.lengths[chosen]
        offsets = offsets_of(lengths)
        places = np.repeat(starts, lengths) + counted_up(lengths)
        weights = None if self.weights is None else self.weights[places]
        return ItemLists(offsets, self.items[places], weights)

    @property
    def lengths(self) -> np.ndarray:
        """How many items each row has, `[E]`."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """The row of each item, `[N]`."""
        return np.repeat(np.arange(len(self)), self.lengths)


@dataclass(frozen=True)
class TaskExamples:
    """Histories, as slices of the source sequences, and their answers.

    Args:
        user_ids: object array `[E]`.
        starts, stops: int64 arrays, `[E]`; the history of example `e` is
            `sequences.items[starts[e]:stops[e]]`.
        answers: of E rows: an int array `[E]` of classes, a float array `[E, n]` of labels or
            numbers, or ItemLists of target items.
        dropped_users: users of the task without any source history.
        parts: object array `[E]`, as of `split_target_events`, where the examples themselves are
            split; `None` where their users are, see `split_users`.
        seen: int array `[E, 2]` or `None`. Of each history the events that may be answered, a slice
            of `answered_events`.
        told: int32 array `[E, G]` or `None`. What columns say of each user; see `UserFields`.
    """

    user_ids: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    answers: np.ndarray | ItemLists
    dropped_users: int = 0
    parts: np.ndarray | None = None
    seen: np.ndarray | None = None
    told: np.ndarray | None = None

    def __len__(self):
        return len(self.starts)

    def select(self, mask: np.ndarray) -> Any:
        """The examples where `mask` `[E]` is true."""
        some = lambda array: None if array is None else array[mask]
        return TaskExamples(
            self.user_ids[mask],
            self.starts[mask],
            self.stops[mask],
            self.answers[mask],
            parts=some(self.parts),
            seen=some(self.seen),
            told=some(self.told),
        )

    def replace(self, **changes: Any) -> Any:
        """The same examples with other `stops`, `answers` or `told`, of as many rows."""
        return dataclasses.replace(self, **changes)


def recommendation_examples(
    source: Events,
    target_log: Events,
    target_vocabulary: Vocabulary,
    cut_history: bool = True,
    parts: np.ndarray | None = None,
    answered: Events | None = None,
) -> TaskExamples:
    """Examples of recommending in a target log from source histories.

    Target events of one user before which the same source events happened are one example,
    however many they are: a loss and a baseline see at once all that a history led to. Events of
    different parts are different examples.

    Args:
        source: Events of the source log.
        target_log: Events.
        target_vocabulary: Vocabulary without special ids.
        cut_history: bool. Whether a history ends before its target event, for
            logs that share a clock. Defaults to `True`.
        parts: object array of str or `None`. The part of each event of the target log, as of
            `split_target_events`. Defaults to `None`: users are split later.
        answered: Events of `answered_events`, or `None`. Defaults to `None`.

    Raises:
        Misfit: no user of the target log has a source history.

    Example:

    >>> targets = Vocabulary(target_log.item_ids, special_ids=False)
    >>> examples = recommendation_examples(sequences, target_log, targets)
    >>> len(examples) > 0
    True
    """
    target = target_log.encode(target_vocabulary)
    places = source.index(target.user_ids)
    owners = target.users
    users = places[owners]  # [N] source users
    kept = users >= 0
    dropped = int((places < 0).sum())
    _require_histories(kept, "target")
    owners = owners[kept]
    users, items = users[kept], target.items[kept]
    starts = source.offsets[users]
    if cut_history:
        times = on_clock_of(source.timestamps, target.timestamps[kept])
        stops = starts + _events_before(source, users, times)
    else:
        stops = source.offsets[users + 1]
    # Events come user by user and by time, so equal histories stand together.
    changes = np.any(np.diff([users, stops], axis=1) != 0, axis=0)
    if parts is not None:
        parts = parts[kept]
        changes |= parts[1:] != parts[:-1]
    firsts = np.concatenate([[0], np.flatnonzero(changes) + 1]).astype("int64")
    weights = None
    if target.weights is not None:
        weights = _with_mean_one(target.weights[kept])
    answers = ItemLists(np.append(firsts, len(items)), items.astype("int32"), weights)
    parts = None if parts is None else parts[firsts]
    seen = None
    if answered is not None:
        asked, seen = users[firsts], answered.offsets[users[firsts][:, np.newaxis] + [0, 1]]
        if cut_history:
            seen[:, 1] = seen[:, 0] + _events_before(answered, asked, times[firsts])
    asked = starts[firsts], stops[firsts]
    return TaskExamples(target.user_ids[owners[firsts]], *asked, answers, dropped, parts, seen)


def label_examples(source: Events, user_ids: np.ndarray, answers: Any) -> TaskExamples:
    """Examples of users' answers from their whole source history.

    Args:
        source: Events of the source log.
        user_ids: sequence of different str, `[U]`.
        answers: array `[U, ...]`, such as the index of each user's class.

    Returns:
        TaskExamples of the users with a source history.

    Raises:
        Misfit: no user has a source history.

    Example:

    >>> examples = label_examples(sequences, sequences.user_ids[:3], np.array([0, 1, 0]))
    >>> len(examples)
    3
    """
    users = source.index(user_ids)
    kept = users >= 0
    _require_histories(kept, "labels")
    return TaskExamples(
        np.asarray(user_ids, dtype=object)[kept],
        source.offsets[users[kept]],
        source.offsets[users[kept] + 1],
        answers[kept],
        int((~kept).sum()),
    )


def on_clock_of(source: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Times of a target log on the clock of its source log; a line on stderr where they differ.

    They come back themselves, or in the unit of `source` where both units are known.
    """
    if not len(source) or not len(times):
        return times
    units = unit_of(source), unit_of(times)
    if None not in units and units[0] != units[1]:
        progress.line(
            f"the log counts {units[0]} and the target {units[1]}: they are compared as {units[0]}"
        )
        return in_seconds(times, units[1]) * UNITS[units[0]]
    middles = [abs(float(np.median(part))) + 1.0 for part in (source, times)]
    if max(middles) > CLOCK_FACTOR * min(middles):
        shown = [f"{part.min():g} to {part.max():g}" for part in (source, times)]
        progress.line(
            f"the clocks of the log ({shown[0]}) and the target ({shown[1]}) look different, so "
            "histories may be cut at the wrong place; if they are, use --no-cut-history"
        )
    return times


def _with_mean_one(weights):
    if not weights.any():
        raise InputError(
            "`weight_column` should be above 0 in a target event of a user with a source history. "
            "Received: 0 in all of them."
        )
    return (weights / weights.mean()).astype("float32")


def _events_before(source, users, times):
    """How many source events of each user lie strictly before each time, `[N]`."""
    every_user = np.concatenate([users, source.users])
    every_time = np.concatenate([times, source.timestamps])
    is_source = np.concatenate([np.zeros(len(users), bool), np.ones(len(source.items), bool)])
    order = np.lexsort((is_source, every_time, every_user))  # a tie: the target first
    passed = np.empty(len(order), "int64")
    passed[order] = np.cumsum(is_source[order])
    return passed[: len(users)] - source.offsets[users]


def _require_histories(kept, argument):
    if not kept.any():
        raise Misfit(
            f"`{argument}` should share users with `log`. Received: {len(kept)} rows, "
            "none of a user with a source history."
        )
