"""A prepared log: what is said of it, and its events, a few shards at a time."""

import functools
import io
import os
import posixpath
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.files.weights_file import DAMAGED, read_arrays
from keras_peterrec.log.log import Log
from keras_peterrec.log.prepared.finishing import read_vocabulary
from keras_peterrec.log.prepared.format import (
    COUNTS,
    LENGTHS,
    VOCABULARY,
    file_hash,
    not_whole,
    read_bytes,
    read_manifest,
    shard_name,
    user_hashes,
)
from keras_peterrec.log.prepared.records import Histories, read_fields
from keras_peterrec.log.prepared.shards import in_order
from keras_peterrec.log.sequences import Sequences
from keras_peterrec.log.vocabulary import FIRST_ITEM, UNK, Vocabulary

FRAME_BYTES = 16  # that a TFRecord adds to a record


class PreparedLog:
    """A folder that `prepare` has written.

    Only what is said of the log is read here; events are read where they are asked for. Each file
    is compared with its hash when it is first read; of a remote log those of the records are not,
    which have checksums.

    Args:
        path: path of the folder.

    Attributes:
        users, events: int.
        shards: int.
        weighted: bool. Whether its events have weights.

    Raises:
        InputError: the folder holds no prepared log, or is damaged.

    Example:

    >>> prepared = PreparedLog("data/clicks")
    >>> prepared
    PreparedLog('data/clicks', events=1000000, users=31000, shards=2)
    """

    def __init__(self, path: Any) -> None:
        self.path = os.fspath(path)
        self._manifest = read_manifest(path)
        self.name = PurePath(self.path).name
        self.users, self.events = self._manifest["users"], self._manifest["events"]
        self.shards, self.weighted = self._manifest["shards"], self._manifest["weighted"]
        self._compared = set()  # names of files that are known to be as they were written
        self._check_files()

    @property
    def setting_name(self) -> str:
        """What `run.json` calls a log that was given as an object."""
        return self.path

    def fingerprint(self) -> str:
        """`"sha256:<16 hex digits>"` of the records and the vocabulary."""
        return self._manifest["fingerprint"]

    def summary(self) -> dict:
        """What `metrics.json` says of the data."""
        names = ("fingerprint", "users", "items", "items_only_held_out", "events")
        return {name: self._manifest[name] for name in names}

    @functools.cached_property
    def items(self) -> Vocabulary:
        """All items of the log, by falling training events: a Vocabulary."""
        self._compare(VOCABULARY, self._manifest["others"][VOCABULARY])
        return read_vocabulary(self.path)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """How often each item is, each user's last two events aside, int64 `[I]`, as `items`."""
        return self._all_counts[:, 1]

    @property
    def all_counts(self) -> np.ndarray:
        """How often each item is in the log, int64 `[I]`, in the order of `items`."""
        return self._all_counts[:, 0]

    def times(self) -> tuple:
        """The first and the last timestamp."""
        every = [file["times"] for file in self._manifest["files"] if file["times"]]
        return min(low for low, _ in every), max(high for _, high in every)

    def target_weight(self) -> float | None:
        """The weight of all targets of training where each user's last two events are held out."""
        if not self.weighted:
            return None
        return sum(file.get("target_weight", 0.0) for file in self._manifest["files"])

    def vocabulary(
        self, min_count: int, counts: np.ndarray | None = None
    ) -> tuple[Vocabulary, np.ndarray, np.ndarray]:
        """The items that training sees often enough, and how often it does.

        Args:
            min_count: int.
            counts: int array `[I]` or `None`. How often training sees each of `items`. Defaults to
                `None`: each user's last two events are held out.

        Returns:
            Vocabulary, its counts, and an int32 array `[I + 4]`, from the ids of the records to
            those of the vocabulary.

        Raises:
            InputError: there is no such item.
        """
        counts = self.counts if counts is None else counts
        sorted_already = counts is self.counts  # by which the records' ids were given
        order = np.flatnonzero(counts >= max(min_count, 0))
        if not len(order):
            raise InputError(
                "`min_count` should leave at least one item. Received: "
                f"`min_count` = {min_count}, the largest count is {counts.max()}."
            )
        if not sorted_already:
            table = pa.table({"item_id": self.items.items[order], "training_events": counts[order]})
            order = order[in_order(table).to_numpy()]
        ids = np.full(FIRST_ITEM + len(counts), UNK, "int32")
        ids[:FIRST_ITEM] = np.arange(FIRST_ITEM)
        ids[FIRST_ITEM + order] = FIRST_ITEM + np.arange(len(order))
        whole = np.array_equal(order, np.arange(len(counts)))
        return (self.items if whole else self.items.select(order)), counts[order], ids

    def ids_in(self, vocabulary: Vocabulary) -> np.ndarray:
        """Of each id of a record that of any vocabulary, int32 `[I + 4]`."""
        special, known = np.arange(FIRST_ITEM), len(vocabulary.items)
        if np.array_equal(self.items.items[:known], vocabulary.items):
            ids = np.arange(FIRST_ITEM + len(self.items.items), dtype="int32")
            return np.where(ids < len(vocabulary), ids, UNK)
        return np.concatenate([special, vocabulary.encode(self.items.items)]).astype("int32")

    def lengths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How many users of which shard have how many events.

        Returns:
            Three int64 arrays of equal length: shards, numbers of events, and numbers of users.
        """
        return tuple(self._lengths[name].astype("int64") for name in ("shard", "length", "users"))

    def events_of(self, shard: int) -> int:
        """How many events a shard has."""
        return self._manifest["files"][shard]["events"]

    def read(self, shards: Sequence[int], times: bool = False, users: bool = False) -> Histories:
        """Reads some shards; users stand in the order of their first events in the log.

        Args:
            shards: sequence of int.
            times, users: bool. Whether timestamps and user ids are read too. Default to `False`.

        Raises:
            InputError: a shard is damaged.
        """
        whole, weighted = self._manifest["whole_timestamps"], self.weighted
        found = Histories.read(self._shard_paths(shards), whole, times, users, weighted)
        return found.in_first_order()

    def read_times(self, shard: int) -> np.ndarray:
        """All timestamps of a shard, user by user.

        Raises:
            InputError: the shard is damaged.
        """
        paths, whole = self._shard_paths([shard]), self._manifest["whole_timestamps"]
        return read_fields(paths, ["timestamps"], whole)["timestamps"]

    def sample(self, events: int) -> range:
        """The first shards that have so many events together; all of them if there are not more.

        Shards are hashes of users, so this is a random part of the users.
        """
        total, shards = 0, 0
        while shards < self.shards and (not shards or total < events):
            total += self.events_of(shards)
            shards += 1
        return range(shards)

    def sequences(self, ids: np.ndarray, shards: Sequence[int], periods: Any) -> Sequences:
        """The Sequences of some shards.

        Args:
            ids: int32 array `[I + 4]`, from the ids of the records to others; see `ids_in`.
            shards: sequence of int.
            periods: Periods, which split them.

        Raises:
            InputError: a shard is damaged.
        """
        found = self.read(shards, times=True, users=True)
        arrays = found.user_ids, ids[found.items], found.timestamps, found.offsets, found.weights
        return Sequences.of_arrays(*arrays, periods.events(found))

    def log(self, users: Sequence[str] | None = None, shards: Sequence[int] | None = None) -> Log:
        """Reads events into memory.

        Its users stand in the order of the log that was prepared, so that every result is the
        same. Events of items that `min_count` has left out are not in it.

        Args:
            users: sequence of str or `None`. Only these users are read. Defaults to `None`, all.
            shards: sequence of int or `None`. Only these shards. Defaults to `None`, all.

        Raises:
            InputError: a shard is damaged; Misfit where there is none of the users.
        """
        shards = range(self.shards) if shards is None else shards
        if users is None:
            return self._log_of(self.read(shards, times=True, users=True))
        wanted = pa.array(list(users), pa.string())
        of_users = set((user_hashes(wanted) % np.uint64(self.shards)).tolist())
        parts = []
        for shard in sorted(of_users.intersection(shards)):
            found = self.read([shard], times=True, users=True)
            kept = pc.is_in(pa.array(found.user_ids, pa.string()), value_set=wanted)
            parts.append(found.of_users(np.flatnonzero(kept.to_numpy(zero_copy_only=False))))
        if not sum(len(part.user_ids) for part in parts):
            raise Misfit(
                f"`log` should have events of the task's users. Received: {self.path!r}, with none."
            )
        return self._log_of(Histories.joined(parts).in_first_order())

    def _log_of(self, found):
        known = found.items >= FIRST_ITEM
        if not known.any():
            raise InputError(
                "`log` should have events of items that `min_count` has not left out. "
                f"Received: {self.path!r}, with none."
            )
        ids, codes = np.unique(found.items[known], return_inverse=True)
        users = np.repeat(np.arange(len(found.user_ids)), np.diff(found.offsets))[known]
        left, users = np.unique(users, return_inverse=True)  # whose items are not all left out
        arguments = users.astype("int32"), codes.astype("int32"), found.timestamps[known]
        weights = None if found.weights is None else found.weights[known]
        items = self.items.decode(ids)
        return Log(found.user_ids[left], items, *arguments, name=self.name, weights=weights)

    @functools.cached_property
    def _lengths(self):
        return self._arrays(LENGTHS, read_arrays)

    @functools.cached_property
    def _all_counts(self):
        return self._arrays(COUNTS, lambda file, size: np.load(file, allow_pickle=False))

    def _arrays(self, name, read):
        """What `read` makes of a file in memory and its size."""
        self._compare(name, self._manifest["others"][name])
        content = read_bytes(self.path, name)
        try:
            return read(io.BytesIO(content), len(content))
        except DAMAGED as error:
            raise not_whole(self.path, f"{name} is damaged") from error

    def _shard_paths(self, shards):
        """The paths of some shards, which are as they were written."""
        if "://" not in self.path:
            for shard in shards:
                self._compare(shard_name(shard, self.shards), self._manifest["files"][shard])
        return [posixpath.join(self.path, shard_name(shard, self.shards)) for shard in shards]

    def _compare(self, name, about):
        if name in self._compared:
            return
        try:
            changed = file_hash(posixpath.join(self.path, name)) != about["sha256"]
        except OSError as error:
            raise not_whole(self.path, f"{name} cannot be read ({error.strerror})") from error
        if changed:
            raise not_whole(self.path, f"{name} was changed")
        self._compared.add(name)

    def _check_files(self):
        if "://" in self.path:  # asking for the size of each may take long
            return
        files = enumerate(self._manifest["files"])
        sizes = {
            shard_name(number, self.shards): about["bytes"] + FRAME_BYTES * about["users"]
            for number, about in files
        }
        sizes |= {name: about["bytes"] for name, about in self._manifest["others"].items()}
        for name, size in sizes.items():
            path = os.path.join(self.path, name)
            found = os.path.getsize(path) if os.path.isfile(path) else None
            if found != size:
                what = "is missing" if found is None else f"has {found:,} bytes, not {size:,}"
                raise not_whole(self.path, f"{name} {what}")

    def __len__(self):
        return self.events

    def __repr__(self):
        return (
            f"PreparedLog({self.path!r}, events={self.events}, users={self.users}, "
            f"shards={self.shards})"
        )
