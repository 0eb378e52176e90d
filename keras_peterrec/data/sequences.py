"""Every user's events in order of time, in one flat array."""

import numpy as np


class Sequences:
    """The events of a log, user by user and by time, as flat arrays.

    User `u`'s events are `items[offsets[u]:offsets[u + 1]]`. Nothing is padded
    and nothing is copied per window: windows and histories are pairs of a start
    and a stop into `items`.

    Args:
        log: Log.
        vocabulary: Vocabulary that gives the ids.

    Attributes:
        user_ids: Array of str, `[U]`.
        items: int32 array of ids, `[N]`.
        timestamps: Array of numbers, `[N]`. Events of one user with equal
            timestamps stay in the log's order.
        offsets: int64 array, `[U + 1]`.
    """

    def __init__(self, log, vocabulary):
        # lexsort is stable: ties keep the order of the rows.
        order = np.lexsort((log.timestamps, log.users))
        self.user_ids = log.user_ids
        self.items = vocabulary.encode(log.item_ids)[log.items][order]
        self.timestamps = np.asarray(log.timestamps)[order]
        counts = np.bincount(log.users, minlength=len(log.user_ids))
        self.offsets = np.concatenate([[0], np.cumsum(counts)]).astype("int64")
        self._user_index = None

    def __len__(self):
        return len(self.user_ids)

    def __getitem__(self, user):
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @property
    def lengths(self):
        """Number of events of each user, `[U]`."""
        return np.diff(self.offsets)

    def index(self, user_ids):
        """Positions of users in `user_ids`, `-1` for those without events."""
        if self._user_index is None:
            self._user_index = {user: n for n, user in enumerate(self.user_ids)}
        return np.array([self._user_index.get(user, -1) for user in user_ids], dtype="int64")

    def training_windows(self, max_length, held_out=2):
        """Windows for next-item training in which every event is a target once.

        A user's first `n - held_out` events are cut, from the end, into windows
        of at most `max_length` inputs; the targets are the inputs one later.
        Users with no more than `held_out` events are trained on whole.

        Args:
            max_length: int. Inputs of a window.
            held_out: int. Last events of each user that training never sees.
                Defaults to `2` (validation and test).

        Returns:
            Two int64 arrays `starts`, `stops`, `[W]`: inputs are
            `items[start:stop]`, targets `items[start + 1:stop + 1]`.
        """
        lengths = np.where(self.lengths > held_out, self.lengths - held_out, self.lengths)
        pairs = np.maximum(lengths - 1, 0)
        counts = -(-pairs // max_length)
        first = np.repeat(self.offsets[:-1], counts)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        stops = first + np.repeat(pairs, counts) - nth * max_length
        return np.maximum(first, stops - max_length), stops

    def leave_one_out(self, last):
        """Histories and targets where the `last`-last event is to be guessed.

        Args:
            last: int. `1` for the last event (test), `2` for the last but one
                (validation). Users with fewer than three events are left out.

        Returns:
            Three int64 arrays, `[U']`: `starts` and `stops` of the histories, and
            the targets' ids.
        """
        users = np.flatnonzero(self.lengths >= 3)
        stops = self.offsets[users + 1] - last
        return self.offsets[users], stops, self.items[stops].astype("int64")
