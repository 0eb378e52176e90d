"""Reads a log from files or from a table in memory, and says what it read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.clocks import is_fine, strays, unit_of
from keras_peterrec.log.column_names import (
    EVENT_TYPE,
    LOG_COLUMNS,
    as_events,
    as_fields,
    as_renames,
)
from keras_peterrec.log.events import Events
from keras_peterrec.log.log_doubts import doubts_of, rows_with_ids, say_strays
from keras_peterrec.log.table_columns import numbers, texts
from keras_peterrec.log.table_files import Tables, check_tables, read_tables, source_name
from keras_peterrec.log.timestamps import read_times
from keras_peterrec.types import ColumnNames, EventNames, Source


@dataclass(frozen=True)
class Reading:
    """What is read of a log's tables; see `read_log` for the arguments."""

    columns: Any = None
    events: Any = None
    weight_column: str | None = None
    drop_bad_rows: bool = False
    fields: Any = None

    @property
    def wanted(self) -> list[str]:
        """The columns that are read."""
        more = [EVENT_TYPE] if as_events(self.events) is not None else []
        more += [self.weight_column] if self.weight_column is not None else []
        return list(dict.fromkeys([*LOG_COLUMNS, *more, *as_fields(self.fields)]))

    def check(self, source: Source) -> None:
        """Raises what `read_log` would of missing files and columns, without reading them."""
        check_tables(source, self.wanted, self.columns)

    def rows(self, tables: Tables, middle: float | None = None, all_kinds: bool = True) -> Rows:
        """The rows of tables of the wanted columns that are events, checked.

        `middle` is as of `strays`. With `all_kinds` these are all rows of the log, so each kind of
        event that is asked for should be there.

        Raises:
            InputError: a row has no id, or a time or weight cannot be read.
        """
        kept = None
        if self.events is not None:
            event_types = texts(tables.column(EVENT_TYPE), EVENT_TYPE)
            kept = np.isin(event_types, as_events(self.events))
            if all_kinds:
                self._check_kinds(event_types)
        whole = rows_with_ids(tables, LOG_COLUMNS[:2], kept, self.drop_bad_rows)
        if whole is not None:
            tables, kept = tables.select(whole), None if kept is None else kept[whole]
        columns = [part.column("timestamp") for part in tables.parts]
        times, note = read_times(columns, tables.names, "timestamp")
        if kept is not None:
            tables, times = tables.select(kept), times[kept]
        if (away := strays(times, middle)).any():
            say_strays(tables, away, times, self.drop_bad_rows)
            if self.drop_bad_rows:
                tables, times = tables.select(~away), times[~away]
        weights = None
        if self.weight_column is not None:
            weights = weight_numbers(tables.column(self.weight_column), self.weight_column)
        fields = {name: tables.column(name) for name in as_fields(self.fields)}
        ids = tables.column("user_id"), tables.column("item_id")
        return Rows(*ids, times, weights, fields, note)

    def _check_kinds(self, found):
        """Raises InputError if no row is of a kind that is asked for; says which kind has none."""
        names = as_events(self.events)
        different, counts = np.unique(found[found != None], return_counts=True)  # noqa: E711
        missing = [name for name in names if name not in different]
        if not missing:
            return
        often = ", ".join(different[np.argsort(-counts)][:10])
        called = as_renames(self.columns).get(EVENT_TYPE, EVENT_TYPE)
        if len(missing) == len(names):
            raise InputError(
                f"`events` should be among the values of {called}: {often}. "
                f"Received: {', '.join(names)}."
            )
        progress.line(f"no row of {called} is {', '.join(missing)}; there are {often}")


@dataclass(frozen=True)
class Rows:
    """The rows of a table that are events, in its order; columns are of pyarrow, or arrays, `[N]`.

    `note` is what to say of the clocks.
    """

    user_ids: Any
    item_ids: Any
    times: np.ndarray
    weights: np.ndarray | None
    fields: dict
    note: str | None = None


def read_log(
    source: Source,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    weight_column: str | None = None,
    drop_bad_rows: bool = False,
    fields: EventNames | None = None,
) -> Events:
    """Reads a log from a table, a file, or several files.

    It has the columns `user_id`, `item_id` and `timestamp`, or others that `columns` names; of more
    those in `fields` are read. The ids of a CSV file are kept as written: "0010" stays "0010".
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
        fields: list of str, or text such as `"price,channel"`. More columns that the events carry
            as they are; rows that differ in one are no duplicates. Defaults to `None`, none.

    Raises:
        InputError: if a file is missing or unreadable, lacks a column, or holds
            something that `Events.from_columns` does not accept.

    Example:

    >>> log = read_log("clicks.csv.gz")
    >>> log = read_log(frame)  # a table in memory
    """
    reading = Reading(columns, events, weight_column, drop_bad_rows, fields)
    with progress.stage(f"reading {source_name(source)}") as found:
        tables = read_tables(source, reading.wanted, columns, drop_bad_rows)
        count = len(tables)
        with tables.named_in_errors():
            rows = reading.rows(tables)
            progress.part("users, items and their order")
            name = tables.name.removeprefix("the ")
            rest = rows.times, name, rows.weights, rows.fields
            log = Events.from_columns(rows.user_ids, rows.item_ids, *rest)
        log, repeated = _without_duplicates(log)
        said = [f"{count:,} rows"] if count != len(log) else []
        said += [log.summary(), *repeated, *tables.notes(), *([rows.note] if rows.note else [])]
        found("; ".join(said))
    for doubt in doubts_of(log):
        progress.line(f"{tables.name}: {doubt}")
    return log


def log_of_table(source: Any, fields: Iterable[str] = ()) -> Events:
    """Reads a table in memory as `read_log` does: of one user or more, and without a line of it.

    Its events carry the columns named by `fields`.
    """
    reading = Reading(fields=list(fields) or None)
    rows = reading.rows(read_tables(source, reading.wanted))
    columns = rows.user_ids, rows.item_ids, rows.times
    return _without_duplicates(Events.of_rows(*columns, fields=rows.fields))[0]


def weight_numbers(column: Any, name: str) -> np.ndarray:
    """A column of numbers, which a CSV file has as text; InputError if it holds something else."""
    try:
        return numbers(column.cast(pa.float64()), name)
    except pa.ArrowException as error:
        raise InputError(
            f"`weight_column` should hold numbers. Received: {name!r}: {error}."
        ) from error


def _without_duplicates(log):
    """The log with one of the events that repeat user, item and time, and what to say of them.

    Where the clock counts days, or is none, an equal row may be another event.
    """
    distinct = log.without_repeats()
    repeated = len(log) - len(distinct)
    if not repeated:
        return log, []
    if not is_fine(log.timestamps, unit_of(log.timestamps)):
        return log, [f"{repeated:,} repeat user, item and time, and are kept"]
    return distinct, [f"{repeated:,} exact duplicate{'s' * (repeated != 1)} dropped"]
