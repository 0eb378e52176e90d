"""Every user's events in order of time, in one flat array."""

from collections.abc import Sequence

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.log import Log
from keras_peterrec.log.splits import EventSplit, last_events
from keras_peterrec.log.vocabulary import UNK, Vocabulary


class Sequences:
    """The events of a log as flat arrays, user by user and in order of time.

    User `u`'s events are `items[offsets[u]:offsets[u + 1]]`. Nothing is padded, and
    windows and histories are not copies: each is a start and a stop in `items`.

    Args:
        log: Log.
        vocabulary: Vocabulary that gives the ids.
        known_only: bool. Whether events with unknown items are left out, as a task reads
            histories; see `left_pad`. Defaults to `False`.
        split: EventSplit or `None`. Which events are trained on and which are asked for. Defaults
            to `None`: each user's last two are held out, see `last_events`.

    Attributes:
        user_ids: Array of str, `[U]`.
        items: int32 array of ids, `[N]`.
        timestamps: Array of numbers, `[N]`. Events of one user with equal
            timestamps stay in the log's order.
        offsets: int64 array, `[U + 1]`.
        weights: float32 array, `[N]`, or `None` where the log has none.
        vocabulary: Vocabulary, or `None` where the sequences were made of arrays.
        log: Log, or `None` there. It also has the events that are left out here.

    Example:

    >>> log = Log.from_columns(["ann", "bob", "ann"], ["x", "x", "y"], [2, 1, 1])
    >>> sequences = Sequences(log, Vocabulary(["x", "y"]))
    >>> sequences
    Sequences(users=2, events=3, longest=2)
    >>> sequences[0].tolist()
    [5, 4]
    """

    def __init__(
        self,
        log: Log,
        vocabulary: Vocabulary,
        known_only: bool = False,
        split: EventSplit | None = None,
    ) -> None:
        # lexsort is stable: events of one time keep the order of the rows.
        order = np.lexsort((log.timestamps, log.users))
        ids = vocabulary.encode(log.item_ids)
        self.vocabulary: Vocabulary | None = vocabulary
        self.log: Log | None = log
        # Of all events of the log, also where those of unknown items are left out.
        self._known_share = float(np.mean(ids[log.items] != UNK))
        if known_only:
            order = order[ids[log.items[order]] != UNK]
        self.user_ids = log.user_ids
        self.items = ids[log.items[order]]
        self.timestamps = np.asarray(log.timestamps)[order]
        self.weights = None if log.weights is None else np.asarray(log.weights)[order]
        counts = np.bincount(log.users[order], minlength=len(log.user_ids))
        self.offsets = np.concatenate([[0], np.cumsum(counts)]).astype("int64")
        self.split = split or last_events(self.lengths)
        self._user_index: dict[str, int] | None = None

    @classmethod
    def of_arrays(
        cls,
        user_ids: np.ndarray,
        items: np.ndarray,
        timestamps: np.ndarray,
        offsets: np.ndarray,
        weights: np.ndarray | None = None,
        split: EventSplit | None = None,
    ) -> "Sequences":
        """The sequences whose attributes these are."""
        sequences = cls.__new__(cls)
        sequences.vocabulary = sequences.log = None
        sequences.user_ids, sequences.items = user_ids, items
        sequences.timestamps, sequences.offsets = timestamps, offsets
        sequences.weights, sequences._known_share = weights, None
        sequences.split = split or last_events(sequences.lengths)
        sequences._user_index = None
        return sequences

    def __len__(self) -> int:
        """The number of users."""
        return len(self.user_ids)

    def __getitem__(self, user: int) -> np.ndarray:
        """The ids of one user's events, int32."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def __repr__(self) -> str:
        return (
            f"Sequences(users={len(self)}, events={len(self.items)}, longest={self.lengths.max()})"
        )

    @property
    def lengths(self) -> np.ndarray:
        """The number of events of each user, `[U]`."""
        return np.diff(self.offsets)

    @property
    def known_share(self) -> float:
        """The share of the log's events whose items are in the vocabulary."""
        if self._known_share is None:
            return float(np.mean(self.items != UNK))
        return self._known_share

    def index(self, user_ids: Sequence[str]) -> np.ndarray:
        """Returns the positions of users, int64, and -1 for those without events."""
        if self._user_index is None:
            self._user_index = {user: n for n, user in enumerate(self.user_ids)}
        return np.array([self._user_index.get(user, -1) for user in user_ids], dtype="int64")

    def training_windows(self, max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns windows for next-item training in which every event is a target once.

        The events of a user that are trained on are cut, starting at the end, into windows
        of at most `max_length` inputs; the targets are the inputs one position later.

        Args:
            max_length: int. The most inputs of a window.

        Returns:
            Two int64 arrays `starts` and `stops`, `[W]`: inputs are
            `items[start:stop]`, targets `items[start + 1:stop + 1]`.
        """
        pairs, counts = window_counts(self.split.trained, max_length)
        first = np.repeat(self.offsets[:-1], counts)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        stops = first + np.repeat(pairs, counts) - nth * max_length
        return np.maximum(first, stops - max_length), stops

    def held_out(self, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns histories, and for each the event to predict.

        Args:
            part: int. `VALIDATION` or `TEST`.

        Returns:
            Three int64 arrays, `[U']`: `starts` and `stops` of the histories, and
            the targets' ids.
        """
        asked = self.split.asked(part)
        users = np.flatnonzero(asked >= 0)
        starts = self.offsets[users]
        stops = starts + asked[users]
        return starts, stops, self.items[stops].astype("int64")


def window_counts(trained: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """How many targets users have of whom so many events are trained on, and in how many windows.

    Args:
        trained: int array `[U]`.
        max_length: int. The most inputs of a window.

    Returns:
        Two int arrays `[U]`.
    """
    targets = np.maximum(trained - 1, 0)
    return targets, -(-targets // max_length)


def target_weight(weights: np.ndarray, offsets: np.ndarray, trained: np.ndarray) -> float:
    """The sum of the weights of all targets of training: each user's events after the first.

    Args:
        weights: float array `[N]`, user by user and in order of time.
        offsets: int array `[U + 1]`, as of Sequences.
        trained: int array `[U]`. How many events training sees of each user.
    """
    passed = np.concatenate([[0.0], np.cumsum(weights, dtype="float64")])
    firsts = offsets[:-1] + np.minimum(trained, 1)
    return float(np.sum(passed[offsets[:-1] + trained] - passed[firsts]))


def mean_one_factor(targets: int, weight: float) -> float:
    """What the weights of targets are multiplied with, so that their mean is 1.

    Args:
        targets: int. How many there are.
        weight: float. What their weights add up to.

    Raises:
        InputError: that is nothing.
    """
    if weight <= 0:
        raise InputError(
            "`weight_column` should be above 0 in events that train. Received: 0 in all but those "
            "kept for validation and test."
        )
    return targets / weight
