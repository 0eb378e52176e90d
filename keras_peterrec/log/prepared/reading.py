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
from keras_peterrec.integers import offsets_of
from keras_peterrec.log.event_split import last_events
from keras_peterrec.log.events import Events
from keras_peterrec.log.moments import in_clock, is_moment
from keras_peterrec.log.prepared.finishing import read_vocabulary
from keras_peterrec.log.prepared.format import (
    COUNTS,
    FIELD,
    LENGTHS,
    VOCABULARY,
    WEIGHTS,
    file_hash,
    not_whole,
    read_bytes,
    read_manifest,
    shard_name,
    user_hashes,
    write_bytes,
)
from keras_peterrec.log.prepared.records import read_fields
from keras_peterrec.log.splits import (
    EVERYTHING,
    LAST,
    AskedEvents,
    Periods,
    SplitCounts,
    count_split,
)
from keras_peterrec.log.table_columns import Field
from keras_peterrec.log.vocabulary import Vocabulary, number_of
from keras_peterrec.types import Json

FRAME_BYTES = 16  # that a TFRecord adds to a record


class PreparedLog:
    """A folder that `prepare` has written.

    Only what is said of the log is read here; events are read where they are asked for. Each file
    is compared with its hash when it is first read; of a remote log those of the records are not,
    which have checksums.

    Args:
        path: path of the folder.

    Attributes:
        user_count: int.
        shards: int.
        weighted: bool. Whether not all of its events count the same as targets.
        fields: list of str. What its events have besides.
        asked: AskedEvents, which are to be predicted, or `None`, all; see `asking`.

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
        self.user_count, self.shards = self._manifest["users"], self._manifest["shards"]
        self.weighted, self.fields = self._manifest["weighted"], self._manifest["fields"]
        self.asked: AskedEvents | None = None
        self._compared = set()  # names of files that are known to be as they were written
        self._check_files()

    @property
    def setting_name(self) -> str:
        """What `run.json` calls a log that was given as an object."""
        return self.path

    def asking(self, asked: AskedEvents | None) -> "PreparedLog":
        """This log, of which some events alone are to be predicted; see `Events.asking`."""
        log = PreparedLog(self.path)
        if asked is not None:
            log.asked, log.weighted = asked, True
        return log

    def fingerprint(self) -> str:
        """`"sha256:<16 hex digits>"` of the records and the vocabulary."""
        return self._manifest["fingerprint"]

    @functools.cached_property
    def items(self) -> Vocabulary:
        """All items of the log, by falling training events: a Vocabulary."""
        self._compare(VOCABULARY, self._manifest["others"][VOCABULARY])
        return read_vocabulary(self.path)

    @property
    def item_ids(self) -> np.ndarray:
        """All items of the log: the number of an item is its place here."""
        return self.items.items

    @property
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

    def kept_split(self, split: str) -> SplitCounts | None:
        """What a split, see `Periods`, comes to, as the folder has it.

        `None` where shards would have to be read.
        """
        if self.asked is not None:
            return None
        if is_moment(split):
            return self._kept_split_by_time(split)
        shard, length, users = self.lengths()
        if split == LAST:
            weight = None
            if self.weighted:
                weight = sum(file.get("target_weight", 0.0) for file in self._manifest["files"])
            by_last = last_events(length)
            Periods(LAST).check(by_last, self)
            return SplitCounts(Periods(LAST), self.counts, shard, by_last.trained, users, weight)
        if self.weighted:
            return None
        return SplitCounts(Periods(EVERYTHING), self.all_counts, shard, length, users)

    def keep_split(self, split: str) -> None:
        """Writes what a split by time comes to into the folder, so that training need not count."""
        if self._kept_split_by_time(split) is not None:
            return
        counted = count_split(self, split)
        buffer = io.BytesIO()
        weight: Json = (
            {} if counted.target_weight is None else {"target_weight": counted.target_weight}
        )
        np.savez(
            buffer,
            log=np.array(self.fingerprint()),
            bounds=np.array(counted.periods.bounds),
            counts=counted.counts,
            shard=counted.shard.astype("<i4"),
            trained=counted.trained.astype("<i4"),
            users=counted.users.astype("<i4"),
            **weight,
        )
        write_bytes(self.path, self._split_file(split), buffer.getvalue())

    def _kept_split_by_time(self, split):
        try:
            content = read_bytes(self.path, self._split_file(split))
            kept = read_arrays(io.BytesIO(content), len(content))
            if kept["log"] != self.fingerprint():
                return None
        except (OSError, KeyError, *DAMAGED):  # counted anew
            return None
        weight = float(kept["target_weight"]) if "target_weight" in kept else None
        parts = (kept[name].astype("int64") for name in ("counts", "shard", "trained", "users"))
        return SplitCounts(Periods(split, tuple(kept["bounds"])), *parts, weight)

    def _split_file(self, split):
        return f"split-{in_clock(split, np.array(self.times()))}.npz"

    def lengths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How many users of which shard have how many events.

        Returns:
            Three int64 arrays of equal length: shards, numbers of events, and numbers of users.
        """
        return tuple(self._lengths[name].astype("int64") for name in ("shard", "length", "users"))

    def events_of(self, shard: int) -> int:
        """How many events a shard has."""
        return self._manifest["files"][shard]["events"]

    def read(
        self,
        shards: Sequence[int],
        times: bool = False,
        users: bool = False,
        fields: bool = False,
    ) -> Events:
        """Reads some shards; users stand in the order of their first events in the log.

        Args:
            shards: sequence of int.
            times, users, fields: bool. Whether timestamps, user ids and fields are read too.
                Default to `False`.

        Raises:
            InputError: a shard is damaged.
        """
        more = [FIELD + name for name in self.fields] if fields or self.asked else []
        has_weights = self._manifest["weighted"]
        optional = {"timestamps": times, "user_id": users, WEIGHTS: has_weights}
        asked = [*(name for name, wanted in optional.items() if wanted), *more]
        paths, whole = self._shard_paths(shards), self._manifest["whole_timestamps"]
        columns = read_fields(paths, ["items", "first_event", *asked], whole)
        user_ids = columns.get("user_id")
        if users:
            user_ids = np.array([user_id.decode() for user_id in user_ids], object)
        events = Events(
            user_ids,
            np.maximum(number_of(columns["items"]), -1).astype("int32"),
            offsets_of(columns["lengths"]),
            columns.get("timestamps"),
            self.item_ids,
            columns.get(WEIGHTS),
            {n.removeprefix(FIELD): Field.of(pa.array(columns[n], pa.binary()), n) for n in more},
            self.name,
            columns["first_event"],
        )
        events = events.of_users(np.argsort(events.first_rows, kind="stable"))
        return events if self.asked is None else events.asking(self.asked)

    def read_times(self, shard: int) -> np.ndarray:
        """All timestamps of a shard, user by user.

        Raises:
            InputError: the shard is damaged.
        """
        paths, whole = self._shard_paths([shard]), self._manifest["whole_timestamps"]
        return read_fields(paths, ["timestamps"], whole)["timestamps"]

    def log(
        self,
        users: Sequence[str] | np.ndarray | None = None,
        shards: Sequence[int] | None = None,
    ) -> Events:
        """Reads events into memory, to what they would be if the log were read there.

        Events of items that `min_count` has left out are not in it.

        Args:
            users: sequence of str or `None`. Only these users are read. Defaults to `None`, all.
            shards: sequence of int or `None`. Only these shards. Defaults to `None`, all.

        Raises:
            InputError: a shard is damaged; Misfit where there is none of the users.
        """
        shards = range(self.shards) if shards is None else shards
        events = self._read_all(shards) if users is None else self._read_users(shards, users)
        known = events.items >= 0
        if not known.any():
            raise InputError(
                "`log` should have events of items that `min_count` has not left out. "
                f"Received: {self.path!r}, with none."
            )
        return events.select(known)

    def _read_all(self, shards):
        return self.read(shards, times=True, users=True, fields=True)

    def _read_users(self, shards, users):
        wanted = pa.array(list(users), pa.string())
        of_users = set((user_hashes(wanted) % np.uint64(self.shards)).tolist())
        parts = []
        for shard in sorted(of_users.intersection(shards)):
            events = self._read_all([shard])
            kept = pc.is_in(pa.array(events.user_ids, pa.string()), value_set=wanted)
            parts.append(events.of_users(np.flatnonzero(kept.to_numpy(zero_copy_only=False))))
        if not sum(part.user_count for part in parts):
            raise Misfit(
                f"`log` should have events of the task's users. Received: {self.path!r}, with none."
            )
        events = Events.joined(parts)
        return events.of_users(np.argsort(events.first_rows, kind="stable"))

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
        return self._manifest["events"]

    def __repr__(self):
        return (
            f"PreparedLog({self.path!r}, events={len(self)}, users={self.user_count}, "
            f"shards={self.shards})"
        )
