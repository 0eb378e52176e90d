"""The interaction log: which user touched which item, and when."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa

from keras_peterrec.errors import InputError
from keras_peterrec.log.stray_times import usual
from keras_peterrec.log.table_columns import Column, encode_ids, freeze, numbers
from keras_peterrec.log.timestamps import time_text, unit_of


class Log:
    """A log of events `(user, item, timestamp)`, held in columns.

    Ids are opaque strings. Each is held once, in order of first appearance; events hold
    an index, so that `user_ids[users[n]]` is the user of event `n`. Events keep
    the order in which they came; nothing is sorted. Build a log with
    `Log.from_columns` or `read_log` (in `read_log.py`).

    Args:
        user_ids: object array of different str.
        item_ids: object array of different str.
        users: int32 array `[N]`, indices into `user_ids`.
        items: int32 array `[N]`, indices into `item_ids`.
        timestamps: int64 or float64 array `[N]`.
        name: str. What messages and reports call the log. Defaults to `"log"`.
        weights: float32 array `[N]` or `None`. How much each event counts in a loss. Defaults to
            `None`, all alike.

    Example:

    >>> log = Log.from_columns(["ann", "bob", "ann"], [7, 7, 9], [1, 2, 3])
    >>> log
    Log(name='log', events=3, users=2, items=2)
    >>> log.item_ids[log.items].tolist()
    ['7', '7', '9']
    """

    def __init__(
        self,
        user_ids: np.ndarray,
        item_ids: np.ndarray,
        users: np.ndarray,
        items: np.ndarray,
        timestamps: np.ndarray,
        name: str = "log",
        weights: np.ndarray | None = None,
    ) -> None:
        self.user_ids, self.item_ids = freeze(user_ids, item_ids)
        self.users, self.items, self.timestamps = freeze(users, items, timestamps)
        self.name = name
        self.weights = None if weights is None else freeze(weights)[0]

    @property
    def setting_name(self) -> str:
        """What `run.json` calls a log that was given as an object."""
        return self.name

    @classmethod
    def from_columns(
        cls,
        user_ids: Column,
        item_ids: Column,
        timestamps: Column,
        name: str = "log",
        weights: Column | None = None,
    ) -> Log:
        """Returns a log of `N` events given as three columns.

        Args:
            user_ids: sequence, numpy or pyarrow array `[N]` of str or int.
            item_ids: sequence, numpy or pyarrow array `[N]` of str or int.
            timestamps: sequence, numpy or pyarrow array `[N]` of finite numbers.
            name: str. What messages and reports call the log. Defaults to `"log"`.
            weights: sequence, numpy or pyarrow array `[N]` of numbers of at least 0, or `None`.
                How much each event counts in a loss. Defaults to `None`, all alike.

        Raises:
            InputError: if the columns are empty or of different lengths, an id is
                missing or not allowed (see `encode_ids`), a timestamp is not a finite
                number, or there is only one user.
        """
        lengths = {len(user_ids), len(item_ids), len(timestamps)}
        if len(lengths) > 1:
            raise InputError(
                "`user_ids`, `item_ids` and `timestamps` should have one length. "
                f"Received: {len(user_ids)}, {len(item_ids)} and {len(timestamps)}."
            )
        different_users, users = encode_ids(user_ids, "user_ids")
        different_items, items = encode_ids(item_ids, "item_ids")
        times = numbers(timestamps, "timestamps")
        if len(different_users) < 2:
            raise InputError(
                "`user_ids` should name at least two users. "
                f"Received: a log with one user, {different_users[0]!r}."
            )
        if weights is not None:
            weights = checked_weights(weights, len(users))
            if not weights.any():
                raise InputError("`weights` should be above 0 somewhere. Received: 0 in every row.")
        return cls(different_users, different_items, users, items, times, name, weights)

    def select(self, mask: np.ndarray, name: str | None = None) -> Log:
        """Returns a log of the events where `mask` is true, in the same order.

        Users and items that no longer occur are left out.

        Args:
            mask: bool array `[N]`.
            name: str or `None`. The new log's name. Defaults to `None`, the same.

        Raises:
            InputError: if `mask` has another shape or type, or keeps no event.
        """
        mask = np.asarray(mask)
        if mask.shape != self.users.shape or mask.dtype != bool:
            raise InputError(
                f"`mask` should be a bool array of shape {self.users.shape}. "
                f"Received: {mask.dtype} of shape {mask.shape}."
            )
        if not mask.any():
            raise InputError(
                f"`mask` should keep at least one event of {self.name}. Received: all false."
            )
        user_ids, users = _compact(self.user_ids, self.users[mask])
        item_ids, items = _compact(self.item_ids, self.items[mask])
        times = self.timestamps[mask]
        if times.dtype == np.float64:
            # What is left may be whole numbers, which are held as integers.
            times = numbers(times, "timestamps")
        weights = None if self.weights is None else self.weights[mask]
        return Log(user_ids, item_ids, users, items, times, name or self.name, weights)

    def summary(self) -> str:
        """What it holds, for people: events, users, items and the usual span of time."""
        unit, times = unit_of(self.timestamps), usual(self.timestamps)
        first, last = (time_text(t, unit) for t in (times.min(), times.max()))
        return (
            f"{len(self):,} events of {len(self.user_ids):,} users and {len(self.item_ids):,} "
            f"items, {first} to {last}"
        )

    def fingerprint(self) -> str:
        """Returns `"sha256:<16 hex digits>"` of the events, their order and their weights.

        It does not depend on the log's name, nor on the format of its file.
        """
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            # No id has a line break, so one can separate them.
            digest.update("\n".join(ids).encode() + b"\n\n")
        digest.update(self.users.astype("<i4").tobytes())
        digest.update(self.items.astype("<i4").tobytes())
        digest.update(self.timestamps.astype(f"<{self.timestamps.dtype.str[1:]}"))
        if self.weights is not None:
            digest.update(self.weights.astype("<f4").tobytes())
        return f"sha256:{digest.hexdigest()[:16]}"

    def __len__(self) -> int:
        """The number of events."""
        return len(self.users)

    def __repr__(self) -> str:
        return (
            f"Log(name={self.name!r}, events={len(self)}, "
            f"users={len(self.user_ids)}, items={len(self.item_ids)})"
        )


def checked_weights(values: Any, count: int) -> np.ndarray:
    """How much each of `count` events counts, float32.

    Raises:
        InputError: there are more or fewer, or one is negative or not finite.
    """
    weights = numbers(values, "weights").astype("float32")
    if len(weights) != count:
        raise InputError(
            f"`weights` should be one for each event. Received: {len(weights)} for {count} events."
        )
    if weights.min() < 0 or not np.isfinite(weights).all():
        row = int(np.argmax((weights < 0) | ~np.isfinite(weights)))
        raise InputError(
            "`weights` should be finite and at least 0. "
            f"Received: {weights[row]:g} in row {row + 1}."
        )
    return weights


def _compact(ids, codes):
    """Returns the ids that occur, and the codes into them."""
    # Unlike np.unique, Arrow's encoding keeps the order of first appearance.
    encoded = pa.array(codes).dictionary_encode()
    return ids[encoded.dictionary.to_numpy()], encoded.indices.to_numpy()
