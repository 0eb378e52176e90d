"""The events of a log, and which of them are trained on and asked for.

At the end: what a log in memory and a prepared one have in common.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from keras_peterrec.log.event_columns import EventColumns
from keras_peterrec.log.event_split import EventSplit, last_asked, last_events
from keras_peterrec.log.table_columns import freeze
from keras_peterrec.log.vocabulary import UNK, Vocabulary


class Events(EventColumns):
    """The events of a log: its columns, and what is to be learned from them.

    User `u`'s events are `items[offsets[u]:offsets[u + 1]]`, in order of time; see EventColumns for
    the arguments. Item number `n` is `item_ids[n]` and, after `encode`, the item of that id in a
    vocabulary.

    A log in memory is one Events. A log that was prepared is many, one a shard; see `PreparedLog`.
    Both are read by `shards`, `events_of` and `read`.

    Build it with `Events.from_columns` or `read_log`.

    Attributes:
        split: EventSplit. Which events are trained on and which are asked for. Each user's last two
            are held out unless `encode` was told otherwise.
        vocabulary: Vocabulary that gives the items their numbers; `None` before `encode`.
        log: Events as they were before `encode`, or `None`. It also has the events of unknown items
            that are left out here.
        rows: int array `[N]` or `[N, 1 + F + V]`. What is read of the events: the items' ids or,
            after `tell`, what `EventFields.rows` gives.
        told: EventFields of these rows, or `None` before `tell`.
        asked: bool array `[N]`, which events are to be predicted, or `None`, all; see `asking`.

    Example:

    >>> log = Events.from_columns(["ann", "bob", "ann"], ["x", "x", "y"], [2, 1, 1])
    >>> log
    Events(name='log', events=3, users=2, items=2)
    >>> log.item_ids[log.items].tolist(), log.offsets.tolist()
    (['y', 'x', 'x'], [0, 2, 3])
    >>> log.encode(Vocabulary(["x", "y"])).items.tolist()
    [5, 4, 4]
    """

    shards = 1
    vocabulary: Vocabulary | None = None
    log: Events | None = None
    told: Any = None
    asked: np.ndarray | None = None
    _rows: np.ndarray | None = None

    @property
    def setting_name(self) -> str:
        """What `run.json` calls a log that was given as an object."""
        return self.name

    @functools.cached_property
    def split(self) -> EventSplit:
        """Which events are trained on and which are asked for."""
        return self.last_events()

    def last_events(self) -> EventSplit:
        """Holds out each user's last two, or the last two of those that may be asked for."""
        if self.asked is None:
            return last_events(self.lengths)
        return last_asked(self.offsets, self.asked)

    @property
    def weighted(self) -> bool:
        """Whether not all of its events count the same as targets."""
        return self.weights is not None or self.asked is not None

    @property
    def target_weights(self) -> np.ndarray | None:
        """How much each event counts as a target, float32 `[N]`; `None`, all alike."""
        if self.asked is None:
            return self.weights
        asked = self.asked.astype("float32")
        return asked if self.weights is None else self.weights * asked

    @property
    def predicted(self) -> np.ndarray:
        """Which events training sees and may be asked for, bool `[N]`."""
        trained = self.places < np.repeat(self.split.trained, self.lengths)
        return trained if self.asked is None else trained & self.asked

    def asking(self, asked: Any) -> Events:
        """These events, of which those of an AskedEvents alone are to be predicted; `None`, all.

        Raises:
            InputError: they lack the column that says which.
        """
        events = self._taken(slice(None), slice(None), self.lengths)
        if asked is not None:
            [events.asked] = freeze(asked.mask(self))
        return events

    # A log in memory is read as one of many shards is.

    def events_of(self, shard: int) -> int:
        """How many events the only shard has."""
        return len(self)

    def read(
        self,
        shards: Sequence[int],
        times: bool = False,
        users: bool = False,
        fields: bool = False,
    ) -> Events:
        """These events; see `PreparedLog.read`."""
        return self

    def read_times(self, shard: int) -> np.ndarray:
        """All timestamps of the only shard."""
        return self.timestamps

    def kept_split(self, split: str) -> None:
        """What a split comes to is not kept in memory."""
        return None

    # What a host reads of it.

    def encode(
        self,
        vocabulary: Vocabulary,
        known_only: bool = False,
        split: EventSplit | None = None,
        ids: np.ndarray | None = None,
    ) -> Events:
        """The same events with the ids that a vocabulary gives their items.

        Args:
            vocabulary: Vocabulary.
            known_only: bool. Whether events with unknown items are left out, as a task reads
                histories; see `left_pad`. Defaults to `False`.
            split: EventSplit or `None`. Which events are trained on and which are asked for.
                Defaults to `None`: each user's last two are held out, see `last_events`.
            ids: int32 array `[I]` or `None`. The vocabulary's ids of `item_ids`, if they are known.
                Defaults to `None`.
        """
        ids = vocabulary.encode(self.item_ids) if ids is None else ids
        events = self.renumbered(ids, split, vocabulary.unknown)
        if known_only:
            known = events.items != vocabulary.unknown
            lengths = np.bincount(self.users[known], minlength=self.user_count)
            events = events._taken(known, slice(None), lengths)
        events.vocabulary, events.log = vocabulary, self
        return events

    def renumbered(
        self, ids: np.ndarray, split: EventSplit | None = None, unknown: int = UNK
    ) -> Events:
        """The same events with other numbers of their items.

        `ids` has a number for each item, int32 `[I]`; one that was left out gets `unknown`. For the
        split see `encode`.
        """
        events = self._taken(slice(None), slice(None), self.lengths)
        [events.items] = freeze(np.append(ids, np.int32(unknown))[self.items])
        events.item_ids = None
        if split is not None:
            events.split = split
        return events

    @property
    def rows(self) -> np.ndarray:
        """See the attributes."""
        return self.items if self._rows is None else self._rows

    def tell(self, fields: Any) -> None:
        """Makes `rows` tell the EventFields of events as well, and `told` say which."""
        [self._rows], self.told = freeze(fields.rows(self)), fields

    @property
    def known_share(self) -> float:
        """The share of the log's events whose items are in the vocabulary."""
        known = np.count_nonzero(self.items != self.vocabulary.unknown)
        return known / max(1, len(self.log))

    # What it is asked.

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
        return self.split.windows(self.offsets, max_length)

    def held_out(self, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns histories, and for each the event to predict.

        Args:
            part: str. `"validation"` or `"test"`.

        Returns:
            Three int64 arrays, `[U']`: `starts` and `stops` of the histories, and
            the targets' ids.
        """
        starts, stops = self.split.histories(self.offsets, part)
        return starts, stops, self.items[stops].astype("int64")

    def _taken(self, places, users, lengths, name=None):
        events = super()._taken(places, users, lengths, name)
        events.asked = None if self.asked is None else self.asked[places]
        return events


class ShardedLog(Protocol):
    """A log of events: an Events, which is one shard, or a PreparedLog, which may be many.

    `fields` are the names of further columns of its events, and perhaps these columns. `weighted`
    says whether not all of its events count the same as targets.
    """

    name: str
    fields: Any

    @property
    def setting_name(self) -> str: ...

    @property
    def shards(self) -> int: ...

    @property
    def user_count(self) -> int: ...

    @property
    def item_ids(self) -> Any: ...

    @property
    def weighted(self) -> bool: ...

    def __len__(self) -> int: ...

    def asking(self, asked: Any) -> ShardedLog:
        """This log, of which the events of an AskedEvents alone are to be predicted."""

    def events_of(self, shard: int) -> int:
        """How many events a shard has."""

    def read(
        self,
        shards: Sequence[int],
        times: bool = False,
        users: bool = False,
        fields: bool = False,
    ) -> Events:
        """The events of some shards, with what is asked for and perhaps more."""

    def read_times(self, shard: int) -> np.ndarray:
        """All timestamps of a shard."""

    def times(self) -> tuple:
        """The first and the last timestamp, without those far from all others."""

    def kept_split(self, split: str) -> Any:
        """What a split comes to, a SplitCounts; `None` where shards have to be read for it."""

    def fingerprint(self) -> str:
        """`"sha256:<16 hex digits>"` of what is in it."""
