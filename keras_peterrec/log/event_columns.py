"""Columns of events: which user touched which item, when, and what else is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa

from keras_peterrec.errors import InputError
from keras_peterrec.integers import counted_up, offsets_of, slices
from keras_peterrec.log.clocks import milliseconds, time_text, unit_of, usual
from keras_peterrec.log.id_text import joined_texts, with_field, with_times, written_texts
from keras_peterrec.log.table_columns import (
    Column,
    Field,
    as_field,
    checked_weights,
    encode_ids,
    freeze,
    numbers,
)


class EventColumns:
    """Events of users, user by user and in order of time, held in columns.

    What is learned from them, and how, is said by `Events`, which are these columns too.

    User `u`'s events are `items[offsets[u]:offsets[u + 1]]`; events of one time stay in the order
    in which they came. Nothing is padded, and windows and histories are not copies: each is a start
    and a stop in `items`. Ids are opaque strings, each held once: item number `n` is `item_ids[n]`.

    Args:
        user_ids: object array `[U]` of different str, or `None` if they were not read.
        items: int32 array `[N]`, numbers of items; -1 for one that was left out.
        offsets: int64 array `[U + 1]`.
        timestamps: int64 or float64 array `[N]`, or `None` if they were not read.
        item_ids: object array of different str, or `None`. Defaults to `None`.
        weights: float32 array `[N]` or `None`. How much each event counts in a loss. Defaults to
            `None`, all alike.
        fields: dict from a name to a Field, or `None`. Defaults to `None`, no more columns.
        name: str. What messages and reports call the log. Defaults to `"log"`.
        first_rows: int64 array `[U]` or `None`. Where each user's first row stands in the files of
            a log that is prepared. Defaults to `None`.
    """

    def __init__(
        self,
        user_ids: np.ndarray | None,
        items: np.ndarray,
        offsets: np.ndarray,
        timestamps: np.ndarray | None = None,
        item_ids: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        fields: dict[str, Field] | None = None,
        name: str = "log",
        first_rows: np.ndarray | None = None,
    ) -> None:
        frozen = lambda array: None if array is None else freeze(array)[0]
        self.user_ids, self.item_ids = frozen(user_ids), frozen(item_ids)
        self.items, self.offsets, self.timestamps = map(frozen, (items, offsets, timestamps))
        self.weights, self.first_rows = frozen(weights), frozen(first_rows)
        self.fields, self.name = fields or {}, name
        self._user_index: dict[str, int] | None = None
        self._texts: pa.Array | None = None

    @classmethod
    def from_columns(
        cls,
        user_ids: Column,
        item_ids: Column,
        timestamps: Column,
        name: str = "log",
        weights: Column | None = None,
        fields: dict[str, Column] | None = None,
    ) -> Self:
        """Returns the `N` events given as three columns, in any order.

        Args:
            user_ids: sequence, numpy or pyarrow array `[N]` of str or int.
            item_ids: sequence, numpy or pyarrow array `[N]` of str or int.
            timestamps: sequence, numpy or pyarrow array `[N]` of finite numbers.
            name: str. What messages and reports call the log. Defaults to `"log"`.
            weights: sequence, numpy or pyarrow array `[N]` of numbers of at least 0, or `None`.
                How much each event counts in a loss. Defaults to `None`, all alike.
            fields: dict from a name to a column `[N]` of texts, numbers or bools, or `None`. More
                that is told of each event. Defaults to `None`.

        Raises:
            InputError: if the columns are empty or of different lengths, an id is
                missing or not allowed (see `encode_ids`), a timestamp is not a finite
                number, or there is only one user.
        """
        events = cls.of_rows(user_ids, item_ids, timestamps, name, weights, fields)
        if len(events.user_ids) < 2:
            raise InputError(
                "`user_ids` should name at least two users. "
                f"Received: a log with one user, {events.user_ids[0]!r}."
            )
        if events.weights is not None and not events.weights.any():
            raise InputError("`weights` should be above 0 somewhere. Received: 0 in every row.")
        return events

    @classmethod
    def of_rows(
        cls,
        user_ids: Column,
        item_ids: Column,
        timestamps: Column,
        name: str = "log",
        weights: Column | None = None,
        fields: dict[str, Column | Field] | None = None,
        rows: np.ndarray | None = None,
    ) -> Self:
        """The same of any part of a log, which may have one user; see `from_columns`.

        `rows`, int64 `[N]` or `None`, say where each row stands in the log's files.
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
        if weights is not None:
            weights = checked_weights(weights, len(users))
        told: dict[str, Field] = {
            name: as_field(column, name, len(users)) for name, column in (fields or {}).items()
        }
        first_rows = None if rows is None else rows[np.unique(users, return_index=True)[1]]
        order = np.lexsort((times, users))  # stable: events of one time keep their order
        events = cls(
            different_users,
            items[order],
            offsets_of(np.bincount(users, minlength=len(different_users))),
            times[order],
            different_items,
            None if weights is None else weights[order],
            {name: field[order] for name, field in told.items()},
            name,
            first_rows,
        )
        return events._with_present_items()

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The users of several, whose items have the same numbers."""
        first = parts[0]
        every = lambda name: (
            None
            if getattr(first, name) is None
            else np.concatenate([getattr(part, name) for part in parts])
        )
        fields = {}
        for name in first.fields:
            column = np.concatenate([part.fields[name].texts() for part in parts])
            fields[name] = Field.of(pa.array(column, pa.string()), name)
        return cls(
            every("user_ids"),
            every("items"),
            offsets_of(np.concatenate([part.lengths for part in parts])),
            every("timestamps"),
            first.item_ids,
            every("weights"),
            fields,
            first.name,
            every("first_rows"),
        )

    def __len__(self) -> int:
        """The number of events."""
        return len(self.items)

    def __repr__(self) -> str:
        items = "" if self.item_ids is None else f", items={len(self.item_ids)}"
        return f"Events(name={self.name!r}, events={len(self)}, users={self.user_count}{items})"

    def __getitem__(self, user: int) -> np.ndarray:
        """The items of one user's events, int32."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @property
    def user_count(self) -> int:
        """How many users there are."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The number of events of each user, `[U]`."""
        return np.diff(self.offsets)

    @property
    def users(self) -> np.ndarray:
        """The user of each event, int32 `[N]`, an index into `user_ids`."""
        return np.repeat(np.arange(self.user_count, dtype="int32"), self.lengths)

    @property
    def places(self) -> np.ndarray:
        """How many events of its user come before each event, int64 `[N]`."""
        return counted_up(self.lengths)

    def index(self, user_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns the positions of users, int64, and -1 for those without events."""
        if self._user_index is None:
            self._user_index = {user: n for n, user in enumerate(self.user_ids)}
        return np.array([self._user_index.get(user, -1) for user in user_ids], dtype="int64")

    def times(self) -> tuple:
        """The first and the last timestamp, without those far from all others."""
        times = usual(self.timestamps)
        return times.min().item(), times.max().item()

    # Parts of it.

    def select(self, mask: np.ndarray, name: str | None = None) -> Self:
        """Returns the events where `mask` is true, in the same order.

        Users and items that no longer occur are left out.

        Args:
            mask: bool array `[N]`.
            name: str or `None`. The new log's name. Defaults to `None`, the same.

        Raises:
            InputError: if `mask` has another shape or type, or keeps no event.
        """
        mask = np.asarray(mask)
        if mask.shape != self.items.shape or mask.dtype != bool:
            raise InputError(
                f"`mask` should be a bool array of shape {self.items.shape}. "
                f"Received: {mask.dtype} of shape {mask.shape}."
            )
        if not mask.any():
            raise InputError(
                f"`mask` should keep at least one event of {self.name}. Received: all false."
            )
        lengths = np.bincount(self.users[mask], minlength=self.user_count)
        users = np.flatnonzero(lengths)
        events = self._taken(mask, users, lengths[users], name)
        if events.timestamps.dtype == np.float64:
            # What is left may be whole numbers, which are held as integers.
            [events.timestamps] = freeze(numbers(events.timestamps, "timestamps"))
        return events._with_present_items()

    def of_users(self, users: np.ndarray) -> Self:
        """The events of some users, by their positions, in this order."""
        lengths = self.lengths[users]
        _, places = slices(self.offsets[users], lengths)
        return self._taken(places, users, lengths)

    def with_users(self, user_ids: Sequence[str]) -> Self:
        """The same log with more users, without events; those that it has already stay."""
        new = [user for user, place in zip(user_ids, self.index(user_ids)) if place < 0]
        if not new:
            return self
        return type(self)(
            np.append(self.user_ids, np.array(new, object)),
            self.items,
            np.append(self.offsets, np.full(len(new), len(self.items))),
            self.timestamps,
            self.item_ids,
            self.weights,
            self.fields,
            self.name,
        )

    def without_repeats(self) -> Self:
        """The events without those that repeat an earlier one in every column."""
        if len(self) < 2:
            return self
        users, times = self.users, self.timestamps
        same = (np.diff(users) == 0) & (np.diff(times) == 0)
        run = np.cumsum(np.append(True, ~same))
        # Few events have another of the same user and time beside them.
        rows = np.flatnonzero(np.append(False, same) | np.append(same, False))
        columns = [self.items, *(field.codes for field in self.fields.values())]
        columns += [] if self.weights is None else [self.weights]
        keys = [run[rows], *(column[rows] for column in columns)]
        order = np.lexsort(keys[::-1])  # stable: the first of equal events stays
        equal = np.all([np.diff(key[order]) == 0 for key in keys], axis=0)
        kept = np.ones(len(users), bool)
        kept[rows[order[1:][equal]]] = False
        if kept.all():
            return self
        lengths = np.bincount(users[kept], minlength=self.user_count)
        return self._taken(kept, slice(None), lengths)

    # What is said of it.

    def history_texts(
        self, start: int = 0, stop: int | None = None, times: bool = False, fields: Any = ()
    ) -> np.ndarray:
        """The events of users `start` to `stop` as a signature reads them: object array of str.

        Times are told where the log has some and `times` is true; of the fields, those that it has.
        """
        if self._texts is None:
            self._texts = written_texts(self.item_ids)
        offsets = self.offsets[start : None if stop is None else stop + 1]
        part = slice(int(offsets[0]), int(offsets[-1]))
        texts = self._texts.take(pa.array(self.items[part]))
        unit = unit_of(self.timestamps) if times and self.timestamps is not None else None
        if unit is not None:
            texts = with_times(texts, milliseconds(self.timestamps[part], unit))
        for name in fields:
            if name in self.fields:
                texts = with_field(texts, name, self.fields[name][part].texts())
        return joined_texts(texts, offsets - offsets[0]).to_numpy(zero_copy_only=False)

    def summary(self) -> str:
        """What it holds, for people: events, users, items and the usual span of time."""
        unit = unit_of(self.timestamps)
        first, last = (time_text(time, unit) for time in self.times())
        return (
            f"{len(self):,} events of {len(self.user_ids):,} users and {len(self.item_ids):,} "
            f"items, {first} to {last}"
        )

    def fingerprint(self) -> str:
        """Returns `"sha256:<16 hex digits>"` of the events: users, items, times and all else.

        It does not depend on the log's name, on the format of its file, nor on whether it was
        prepared.
        """
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            # No id has a line break, so one can separate them.
            digest.update("\n".join(ids).encode() + b"\n\n")
        digest.update(self.offsets.astype("<i8").tobytes())
        digest.update(self.items.astype("<i4").tobytes())
        digest.update(self.timestamps.astype(f"<{self.timestamps.dtype.str[1:]}").tobytes())
        if self.weights is not None:
            digest.update(self.weights.astype("<f4").tobytes())
        for name, field in self.fields.items():
            digest.update(repr((name, field.texts().tolist())).encode())
        return f"sha256:{digest.hexdigest()[:16]}"

    def _taken(self, places, users, lengths, name=None):
        """Some events of some users, who have so many of them."""
        at = lambda array, chosen: None if array is None else array[chosen]
        return type(self)(
            at(self.user_ids, users),
            self.items[places],
            offsets_of(lengths),
            at(self.timestamps, places),
            self.item_ids,
            at(self.weights, places),
            {of: field[places] for of, field in self.fields.items()},
            name or self.name,
            at(self.first_rows, users),
        )

    def _with_present_items(self):
        """The same, whose items are numbered in the order of their first appearance."""
        # Unlike np.unique, Arrow's encoding keeps the order of first appearance.
        encoded = pa.array(self.items).dictionary_encode()
        [self.item_ids] = freeze(self.item_ids[encoded.dictionary.to_numpy()])
        [self.items] = freeze(encoded.indices.to_numpy())
        return self
