"""Reads a log from files or from a table in memory, and says what it read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.bad_rows import rows_with_ids, say_strays
from keras_peterrec.log.column_names import EVENT_TYPE, LOG_COLUMNS, as_events, as_renames
from keras_peterrec.log.log import Log
from keras_peterrec.log.log_doubts import doubts_of
from keras_peterrec.log.stray_times import strays
from keras_peterrec.log.table_columns import encode_ids, numbers, texts
from keras_peterrec.log.table_files import check_tables, read_tables, source_name
from keras_peterrec.log.timestamps import is_fine, read_times, unit_of


def read_log(
    source: str | os.PathLike | Sequence | Any,
    columns: Any = None,
    events: Any = None,
    weight_column: str | None = None,
    drop_bad_rows: bool = False,
) -> Log:
    """Reads a log from a table, a file, or several files.

    It has the columns `user_id`, `item_id` and `timestamp`, or others that `columns` names; more
    are allowed and not read. The ids of a CSV file are kept as written: "0010" stays "0010".
    Timestamps are numbers or dates; see `timestamps.py`. Rows that repeat user, item and time are
    dropped where the clock counts less than days. A line on stderr says what was read.

    Args:
        source: path of a .csv, .tsv, .txt, .jsonl or .ndjson file (also .gz) or of a .parquet file;
            a glob or a list of these; or a table of pandas, polars or pyarrow, or a dict of
            columns.
        columns: dict, or text such as `"user_id=userId,timestamp=ts"`. What the table calls the
            columns. Defaults to `None`, by their own names.
        events: list of str, or text such as `"buy,cart"`. The values of the column `event_type`
            whose rows are kept. Defaults to `None`, all rows.
        weight_column: str or `None`. A column of numbers of at least 0: how much each event counts
            in a loss. Defaults to `None`, all alike.
        drop_bad_rows: bool. Whether rows without an id or a time, and rows whose time is far from
            all others, are left out; a line says how many. Defaults to `False`: the former are
            refused, and the latter named and kept.

    Raises:
        InputError: if a file is missing or unreadable, lacks a column, or holds
            something that `Log.from_columns` does not accept.

    Example:

    >>> log = read_log("clicks.csv.gz")
    >>> log = read_log(frame, columns={"user_id": "userId", "item_id": "movieId"})
    """
    wanted = _wanted(events, weight_column)
    with progress.stage(f"reading {source_name(source)}") as found:
        tables = read_tables(source, wanted, columns, drop_bad_rows)
        count = len(tables)
        try:
            kept = None
            if events is not None:
                kept = _of_events(tables.column(EVENT_TYPE), as_events(events), columns)
            *found_columns, weights, note = event_columns(
                tables, kept, weight_column, drop_bad_rows
            )
            progress.part("users, items and their order")
            name = tables.name.removeprefix("the ")
            log = Log.from_columns(*found_columns, name, weights)
        except InputError as error:
            inside = str(error) if tables.names[0] in str(error) else f"{tables.name}: {error}"
            raise InputError(inside) from error
        log, repeated = _without_duplicates(log)
        said = [f"{count:,} rows"] if count != len(log) else []
        said += [log.summary(), *repeated, *tables.notes(), *([note] if note else [])]
        found("; ".join(said))
    for doubt in doubts_of(log):
        progress.line(f"{tables.name}: {doubt}")
    return log


def log_of_table(source: Any) -> Log:
    """Reads a table in memory as `read_log` does: of one user or more, and without a line of it.

    Raises:
        InputError: see `read_log`.
    """
    users, items, times, _, _ = event_columns(read_tables(source, LOG_COLUMNS))
    user_ids, users = encode_ids(users, "user_id")
    item_ids, items = encode_ids(items, "item_id")
    log, _ = _without_duplicates(Log(user_ids, item_ids, users, items, times))
    return log


def check_log_files(
    source: Any, columns: Any = None, events: Any = None, weight_column: str | None = None
) -> None:
    """Raises what `read_log` would of missing files and columns, without reading them."""
    check_tables(source, _wanted(events, weight_column), columns)


def _wanted(events, weight_column):
    more = [EVENT_TYPE] if as_events(events) is not None else []
    more += [weight_column] if weight_column is not None else []
    return list(dict.fromkeys([*LOG_COLUMNS, *more]))


def event_columns(
    tables: Any,
    kept: np.ndarray | None = None,
    weight_column: str | None = None,
    drop_bad_rows: bool = False,
    middle: float | None = None,
) -> tuple:
    """The columns of a log's events.

    Args:
        tables: Tables.
        kept: bool array `[N]` or `None`. The rows that are read. Defaults to `None`, all.
        weight_column, drop_bad_rows: see `read_log`.
        middle: float or `None`. See `strays`. Defaults to `None`.

    Returns:
        Users and items, pyarrow columns; times; weights, an array or `None`; and what to say of
        the clocks, a str or `None`.

    Raises:
        InputError: a row has no id, or a time or weight cannot be read.
    """
    whole = rows_with_ids(tables, LOG_COLUMNS[:2], kept, drop_bad_rows)
    if whole is not None:
        tables, kept = tables.select(whole), None if kept is None else kept[whole]
    columns = [part.column("timestamp") for part in tables.parts]
    times, note = read_times(columns, tables.names, "timestamp")
    if kept is not None:
        tables, times = tables.select(kept), times[kept]
    if (away := strays(times, middle)).any():
        say_strays(tables, away, times, drop_bad_rows)
        if drop_bad_rows:
            tables, times = tables.select(~away), times[~away]
    weights = None
    if weight_column is not None:
        weights = weight_numbers(tables.column(weight_column), weight_column)
    return tables.column("user_id"), tables.column("item_id"), times, weights, note


def weight_numbers(column: Any, name: str) -> np.ndarray:
    """A column of numbers, which a CSV file has as text.

    Raises:
        InputError: it holds something else.
    """
    try:
        return numbers(column.cast(pa.float64()), name)
    except pa.ArrowException as error:
        raise InputError(
            f"`weight_column` should hold numbers. Received: {name!r}: {error}."
        ) from error


def _of_events(column, names, columns):
    """Which rows are of the named kinds of event, bool `[N]`."""
    found = texts(column, EVENT_TYPE)
    different, counts = np.unique(found[found != None], return_counts=True)  # noqa: E711
    kept = np.isin(found, names)
    missing = [name for name in names if name not in different]
    if missing:
        often = ", ".join(different[np.argsort(-counts)][:10])
        called = as_renames(columns).get(EVENT_TYPE, EVENT_TYPE)
        if not kept.any():
            raise InputError(
                f"`events` should be among the values of {called}: {often}. "
                f"Received: {', '.join(names)}."
            )
        progress.line(f"no row of {called} is {', '.join(missing)}; there are {often}")
    return kept


def _without_duplicates(log):
    """The log with one of the events that repeat user, item and time, and what to say of them.

    Where the clock counts days, or is none, an equal row may be another event.
    """
    if not _may_repeat(log):
        return log, []
    columns = {"user": log.users, "item": log.items, "time": log.timestamps}
    if log.weights is not None:
        columns["weight"] = log.weights
    table = pa.table({**columns, "row": np.arange(len(log))})
    firsts = table.group_by([*columns]).aggregate([("row", "min")]).column("row_min").to_numpy()
    repeated = len(log) - len(firsts)
    if not repeated:
        return log, []
    if not is_fine(log.timestamps, unit_of(log.timestamps)):
        return log, [f"{repeated:,} repeat user, item and time, and are kept"]
    mask = np.zeros(len(log), bool)
    mask[firsts] = True
    return log.select(mask), [f"{repeated:,} exact duplicate{'s' * (repeated != 1)} dropped"]


def _may_repeat(log):
    """Whether two events may be equal, at a fifth of the price of being sure."""
    mixed = np.zeros(len(log), "uint64")
    for column in (log.users, log.items, log.timestamps):
        # An odd factor loses nothing; what overflows is meant to.
        bits = column.astype("int64" if column.dtype.kind == "i" else "float64").view("uint64")
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + bits
    mixed.sort()
    return bool(np.any(mixed[1:] == mixed[:-1]))
