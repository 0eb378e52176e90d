"""What a log in memory and a prepared one have in common: they are read a few shards at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from keras_peterrec.log.events import Events


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
