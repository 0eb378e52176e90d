"""The events of a log's files, each with its row, parted by the shard of their user."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keras_peterrec.errors import InputError
from keras_peterrec.log.clocks import Clock, middle_of
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.format import FIELD, ROWS_OF_A_FILE, user_hashes
from keras_peterrec.log.read_log import Reading, Rows
from keras_peterrec.log.table_columns import Field, checked_weights, encode_ids
from keras_peterrec.log.table_files import find_files, read_pieces
from keras_peterrec.log.table_formats import format_of

ROWS = 1_000_000  # read at once, or more where a shard would get few of them
SHARD_ROWS = 256  # an Arrow batch of fewer is mostly frame
SHARD_BYTES = 2**23  # of the log's files, for each shard: about a million events of Parquet
MOST_SHARDS = 4_096  # unless more are asked for


def find_inputs(log: Any, reading: Reading = Reading()) -> list:
    """The inputs of a log, in the order in which their events count as following each other.

    A log is Events, path of a file, a glob such as `clicks/*.parquet`, a list of these, or a URL.
    An input is JSON values that tell when its content has changed.

    Raises:
        InputError: there is no such file, or one lacks a column.
    """
    if isinstance(log, Events):
        return [{"name": log.name, "fingerprint": log.fingerprint()}]
    several = log if isinstance(log, (list, tuple)) else [log]
    parts = []
    for place in several:
        remote = _file_system(os.fspath(place)) if _is_url(place) else None
        if remote is None:
            paths = find_files(place)
            reading.check(paths)
            stats = [os.stat(path) for path in paths]
            parts += [
                {"path": str(p), "bytes": s.st_size, "modified": s.st_mtime_ns}
                for p, s in zip(paths, stats)
            ]
            continue
        system, inner = remote
        paths = sorted(path for path in system.glob(inner) if system.isfile(path))
        parts += [{"path": system.unstrip_protocol(p), "bytes": system.size(p)} for p in paths]
        if not paths or not all(map(format_of, paths)):
            raise InputError(
                f"`log` should name files that are read. Received: {place}, which has "
                f"{next((p for p in paths if not format_of(p)), 'none')}."
            )
    return parts


def default_shards(inputs: list) -> int:
    """How many shards a log gets where nobody says."""
    size = sum(place.get("bytes", 0) for place in inputs)
    return min(MOST_SHARDS, max(1, -(-size // SHARD_BYTES)))


def parted_events(plan: Any, number: int, log: Any = None, rows: int | None = None) -> Iterator:
    """Reads the input of this number in pieces, and parts the events of each by shard.

    A piece has approximately `rows` events; with `None` a million or more. The log is Events, if
    that is the input.

    Yields:
        Pairs of a list of record batches, one for each shard, with the columns `user_id`,
        `item_id`, `timestamp`, `row`, of each field `field_NAME` and, where events are weighed,
        `weight`, in the order of the input; and the Clock of all of them.

    Raises:
        InputError: the input holds something that a log may not.
    """
    rows = rows or max(ROWS, SHARD_ROWS * plan.shards)
    first, path = number * ROWS_OF_A_FILE, plan.inputs[number].get("path")
    middle = None
    with contextlib.nullcontext() if path is None else _named(path, path):
        for piece in _pieces(plan, number, log, rows):
            if len(piece.times):
                clock = Clock.of(piece.times, middle)
                yield _parted(piece, first, plan.shards), clock
                middle = middle or middle_of(piece.times)
            first += len(piece.times)


def _parted(rows, first, shards):
    user_ids, user_codes = encode_ids(rows.user_ids, "user_id")
    item_ids, item_codes = encode_ids(rows.item_ids, "item_id")
    shard = (user_hashes(user_ids) % np.uint64(shards)).astype("uint32")[user_codes]
    order = np.argsort(shard, kind="stable")
    ends = np.cumsum(np.bincount(shard, minlength=shards))
    columns = {
        "user_id": pa.array(user_ids, pa.string()).take(pa.array(user_codes[order])),
        "item_id": pa.array(item_ids, pa.string()).take(pa.array(item_codes[order])),
        "timestamp": pa.array(np.asarray(rows.times)[order]),
        "row": pa.array(first + order),
    }
    if rows.weights is not None:
        columns["weight"] = pa.array(checked_weights(rows.weights, len(order))[order])
    for name, column in rows.fields.items():
        field = column if isinstance(column, Field) else Field.of(column, name)
        columns[FIELD + name] = pa.array(field[order].texts(), pa.string())
    events = pa.record_batch(columns)
    return [events.slice(end - n, n) for end, n in zip(ends, np.diff(ends, prepend=0))]


def _pieces(plan, number, log, rows):
    """The Rows of an input, some at a time."""
    if log is not None:
        users = log.users
        for n in range(0, len(log), rows):
            some = slice(n, n + rows)
            ids = log.user_ids[users[some]], log.item_ids[log.items[some]]
            weights = None if log.weights is None else log.weights[some]
            fields = {name: field[some] for name, field in log.fields.items()}
            yield Rows(*ids, log.timestamps[some], weights, fields)
        return
    path, middle, reading = plan.inputs[number]["path"], None, plan.reading
    with _local(path) as file, _named(path, file):
        asked = reading.wanted, reading.columns, rows, reading.drop_bad_rows
        for tables in read_pieces(file, *asked):
            found = reading.rows(tables, middle, all_kinds=False)
            middle = middle or middle_of(found.times)
            yield found


@contextlib.contextmanager
def _local(path):
    """A path of this machine: that of a file, or of its copy if it is elsewhere."""
    if not _is_url(path):
        yield Path(path)
        return
    system, inner = _file_system(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / os.path.basename(inner)
        try:
            system.get_file(inner, str(copy))
        except OSError as error:
            raise InputError(f"`log` should be readable. Received: {path} ({error}).") from error
        yield copy


@contextlib.contextmanager
def _named(path, file):
    """Names the file in what is said of its content."""
    try:
        yield
    except InputError as error:
        text = str(error).replace(str(file), str(path))
        raise InputError(text if str(path) in text else f"{path}: {text}") from error


def _is_url(place):
    return "://" in str(place)


def _file_system(url):
    """fsspec's file system of a URL such as `gs://...`, and the path in it."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"`log` should be a place that fsspec reads. Received: {url} ({error})."
        ) from error
