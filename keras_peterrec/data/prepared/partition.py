"""The events of a log's files, each with its row, parted by the shard of their user."""

import contextlib
import glob
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from keras_peterrec.data.log import LOG_COLUMNS, Log
from keras_peterrec.data.prepared.format import ROWS_OF_A_FILE, user_hashes
from keras_peterrec.data.table_columns import (
    ENDINGS,
    check_columns,
    encode_ids,
    is_csv,
    numbers,
    numbers_from_text,
)
from keras_peterrec.errors import InputError

ROWS = 1_000_000  # read at once, or more where a shard would get few of them
SHARD_ROWS = 256  # an Arrow batch of fewer is mostly frame
SHARD_BYTES = 2**23  # of the log's files, for each shard: about a million events of Parquet
MOST_SHARDS = 4_096  # unless more are asked for


def find_inputs(log: Any) -> list:
    """The inputs of a log, in the order in which their events count as following each other.

    Args:
        log: Log, path of a file or a pattern of paths such as `clicks/*.parquet`.

    Returns:
        list of JSON values that tell when the content has changed, one for each input.

    Raises:
        InputError: there is no such file, or one cannot be read.
    """
    if isinstance(log, Log):
        return [{"name": log.name, "fingerprint": log.fingerprint()}]
    text = os.fspath(log)
    remote = _file_system(text)
    if remote is not None:
        system, inner = remote
        paths = sorted(path for path in system.glob(inner) if system.isfile(path))
        found = [{"path": system.unstrip_protocol(p), "bytes": system.size(p)} for p in paths]
    else:
        paths = [text] if os.path.isfile(text) else sorted(glob.glob(text, recursive=True))
        paths = [path for path in paths if os.path.isfile(path)]
        found = [
            {"path": p, "bytes": os.path.getsize(p), "modified": os.stat(p).st_mtime_ns}
            for p in paths
        ]
    if not found:
        raise InputError(f"`log` should name files that exist. Received: {text!r}, which has none.")
    for place in found:
        if not place["path"].lower().endswith(ENDINGS):
            raise InputError(
                f"`log` should name files that end in one of {', '.join(ENDINGS)}. "
                f"Received: {place['path']}."
            )
        if remote is None:
            check_columns(place["path"], LOG_COLUMNS)
    return found


def default_shards(inputs: list) -> int:
    """How many shards a log gets where nobody says."""
    size = sum(place.get("bytes", 0) for place in inputs)
    return min(MOST_SHARDS, max(1, -(-size // SHARD_BYTES)))


def parted_events(
    log: Any, inputs: list, number: int, shards: int, rows: int | None = None
) -> Iterator[list]:
    """Reads an input in pieces and parts the events of each by shard.

    Args:
        log: see `find_inputs`; only looked at if it is a Log.
        inputs: list from `find_inputs`.
        number: int. Which of the inputs.
        shards: int.
        rows: int or `None`. Events of a piece, approximately. Defaults to `None`, a million or
            more.

    Yields:
        list of `shards` pyarrow record batches, with the columns `user_id`, `item_id`,
        `timestamp` and `row`. Within a batch, rows are in the order of the input.

    Raises:
        InputError: the input holds something that a log may not.
    """
    rows = rows or max(ROWS, SHARD_ROWS * shards)
    with _clear_errors(inputs[number].get("path")):
        yield from _parted(_pieces(log, inputs[number], rows), number * ROWS_OF_A_FILE, shards)


def _parted(pieces, first, shards):
    for users, items, times in pieces:
        user_ids, user_codes = encode_ids(users, "user_id")
        item_ids, item_codes = encode_ids(items, "item_id")
        shard = (user_hashes(user_ids) % np.uint64(shards)).astype("uint32")[user_codes]
        order = np.argsort(shard, kind="stable")
        ends = np.cumsum(np.bincount(shard, minlength=shards))
        events = pa.record_batch(
            {
                "user_id": pa.array(user_ids, pa.string()).take(pa.array(user_codes[order])),
                "item_id": pa.array(item_ids, pa.string()).take(pa.array(item_codes[order])),
                "timestamp": pa.array(np.asarray(times)[order]),
                "row": pa.array(first + order),
            }
        )
        yield [events.slice(end - n, n) for end, n in zip(ends, np.diff(ends, prepend=0))]
        first += len(order)


def _pieces(log, place, rows):
    """Columns of users, items and numbers, some rows at a time."""
    if "path" not in place:
        for n in range(0, len(log), rows):
            some = slice(n, n + rows)
            users, items = log.user_ids[log.users[some]], log.item_ids[log.items[some]]
            yield users, items, log.timestamps[some]
        return
    path = place["path"]
    for table in _tables(path, rows):
        users, items, times = (table.column(name) for name in LOG_COLUMNS)
        if is_csv(path):
            times = numbers_from_text(times, "timestamp", path)
        yield users, items, numbers(times, "timestamp")


@contextlib.contextmanager
def _clear_errors(path):
    """Names the file in what is said of its content."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"`log` should be readable. Received: {path} ({reason}).") from error
    except InputError as error:
        raise InputError(f"{path}: {error}" if path else str(error)) from error


def _tables(path, rows):
    """A file as tables of about so many rows; the last may be smaller."""
    remote = _file_system(path)
    source = path if remote is None else remote[0].open(remote[1], "rb")
    if is_csv(path):
        options = pa.csv.ConvertOptions(
            include_columns=list(LOG_COLUMNS),
            column_types={column: pa.string() for column in LOG_COLUMNS},
        )
        blocks = pa.csv.ReadOptions(block_size=2**23)
        compressed = remote is not None and path.lower().endswith(".gz")
        source = pa.CompressedInputStream(source, "gzip") if compressed else source
        batches = pa.csv.open_csv(source, read_options=blocks, convert_options=options)
    else:
        file = pa.parquet.ParquetFile(source, pre_buffer=False)
        batches = file.iter_batches(batch_size=rows, columns=list(LOG_COLUMNS))
    waiting, count = [], 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield pa.Table.from_batches(waiting)
            waiting, count = [], 0
    if count:
        yield pa.Table.from_batches(waiting)


def _file_system(path):
    """fsspec's file system of a URL such as `gs://...`, and the path in it; `None` for a path."""
    if "://" not in path:
        return None
    import fsspec

    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"`log` should be a place that fsspec reads. Received: {path} ({error})."
        ) from error
