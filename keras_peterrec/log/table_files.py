"""Tables of a user's own: files of several formats, globs of them, and tables in memory."""

import contextlib
import dataclasses
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.interchange

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.column_names import as_renames, find_columns
from keras_peterrec.log.table_formats import (
    ENDINGS,
    column_names,
    ends_within_line,
    format_of,
    read_batches,
    read_columns,
)
from keras_peterrec.progress import each
from keras_peterrec.types import ColumnNames, Source


@dataclass(frozen=True)
class Tables:
    """The wanted columns of one or several tables, under their standard names.

    Args:
        parts: pyarrow tables, one a file.
        names: what messages call them.
        ignored: columns that are there and not read.
        called: of each part, what the file itself calls each column.
        cut: of each part, whether its file ends within a line.
        first_row: rows of the file before these, where they are a piece of it.
        rows: of each part, which rows of its file it has, int arrays; `None` for all.
    """

    parts: list
    names: list
    ignored: list
    called: list
    cut: list
    first_row: int = 0
    rows: list | None = None

    @property
    def name(self) -> str:
        """What all of them together are called."""
        first = Path(self.names[0]).name
        return first if len(self.names) == 1 else f"{first} and {len(self.names) - 1} more"

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all parts: as text where they have it in different types."""
        columns = [part.column(name) for part in self.parts]
        if any(column.type != columns[0].type for column in columns):
            columns = [column.cast(pa.string()) for column in columns]
        return pa.chunked_array([c for column in columns for c in column.chunks], columns[0].type)

    @contextlib.contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Within this block, an InputError also says which tables it is about."""
        try:
            yield
        except InputError as error:
            inside = str(error)
            raise InputError(
                inside if self.names[0] in inside else f"{self.name}: {inside}"
            ) from error

    def notes(self) -> list[str]:
        """What else there is to say of them, for people."""
        said = [f"not read: {', '.join(self.ignored)}"] if self.ignored else []
        cut = [Path(name).name for name, is_cut in zip(self.names, self.cut) if is_cut]
        more = f" and {len(cut) - 3} more" if len(cut) > 3 else ""
        return said + ([f"no end of line at the end of {', '.join(cut[:3])}{more}"] if cut else [])

    def place(self, row: int) -> tuple[int, int]:
        """In which part a row of all of them is, and its number in that file, counted from 1."""
        ends = np.cumsum([len(part) for part in self.parts])
        part = int(np.searchsorted(ends, row, side="right"))
        row = int(row - ends[part] + len(self.parts[part]))
        row = row if self.rows is None else int(self.rows[part][row])
        return part, row + self.first_row + 1

    def select(self, mask: np.ndarray) -> "Tables":
        """The rows where a bool array `[N]` is true."""
        masks = np.split(mask, np.cumsum([len(part) for part in self.parts])[:-1])
        parts = [part.filter(pa.array(kept)) for part, kept in zip(self.parts, masks)]
        rows = [np.flatnonzero(kept) for kept in masks]
        if self.rows is not None:
            rows = [before[kept] for before, kept in zip(self.rows, rows)]
        return dataclasses.replace(self, parts=parts, rows=rows)


def is_table(source: Source) -> bool:
    """Whether something is a table: of pandas, polars or pyarrow, or a dict of columns."""
    offers = hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__")
    return offers or isinstance(source, dict)


def source_name(source: Source) -> str:
    """What messages call a table or files."""
    if is_table(source):
        return f"the {type(source).__name__}"
    if isinstance(source, (list, tuple)):
        more = f" and {len(source) - 1} more" if len(source) > 1 else ""
        return f"{source[0]}{more}" if source else "no file"
    return str(source)


def read_tables(
    source: Source,
    wanted: Sequence[str],
    columns: ColumnNames | None = None,
    drop_bad_rows: bool = False,
) -> Tables:
    """Reads the wanted columns of a table, of a file, or of several files with the same columns.

    Every value of a CSV file is read as text, so that an id such as "0010" keeps its zeros. The
    separator is found out. Text is UTF-8, or UTF-16 with its byte order mark.

    Args:
        source: path; glob such as `"clicks/*.parquet"`; list of these; or a table that offers
            `__arrow_c_stream__` or `__dataframe__` (pandas, polars, pyarrow), or a dict of columns.
        columns: dict from a wanted column to what it is called in the table.
        drop_bad_rows: whether rows of CSV with more or fewer values than there are columns are left
            out, and a line says how many; otherwise they are an error.

    Raises:
        InputError: a file is missing, of another format or cannot be read, or lacks a column.
    """
    renames = as_renames(columns)
    if is_table(source):
        where, there = source_name(source), _frame_columns(source)
        # Other columns, which are not read, may hold what Arrow cannot.
        read = {name.strip() for name in (*wanted, *renames.values())}
        chosen = [name for name in there if name.strip() in read]
        whole = len(chosen) < len(wanted)  # an index may have the rest
        table = _in_memory(source, None if whole else chosen)
        places = find_columns(table.column_names, wanted, renames, where)
        there = [n for n in there or table.column_names if not n.startswith("__index_level_")]
        return Tables([_renamed(table, places)], [where], _others(there, places), [places], [False])
    parts, names, ignored, called, cut = [], [], {}, [], []
    for path in each(find_files(source), "of the files"):
        there, places = _places(path, wanted, renames)
        uneven = [] if drop_bad_rows else None
        table = read_columns(path, [*dict.fromkeys(places.values())], uneven)
        _say_uneven(path, uneven)
        parts.append(_renamed(table, places))
        names.append(str(path))
        called.append(places)
        cut.append(ends_within_line(path))
        ignored |= dict.fromkeys(_others(there, places))
    return Tables(parts, names, [*ignored], called, cut)


def read_pieces(
    path: str | Path,
    wanted: Sequence[str],
    columns: ColumnNames | None = None,
    rows: int = 1_000_000,
    drop_bad_rows: bool = False,
) -> Iterator[Tables]:
    """Reads one file as `read_tables` does, about so many rows at a time: Tables of one part.

    Lines of JSON are read at once.
    """
    path, renames = Path(path), as_renames(columns)
    _, places = _places(path, wanted, renames)
    waiting, count, before = [], 0, 0
    cut = ends_within_line(path)

    def piece():
        table = _renamed(pa.Table.from_batches(waiting), places)
        return Tables([table], [str(path)], [], [places], [cut], before)

    uneven = [] if drop_bad_rows else None
    for batch in read_batches(path, [*dict.fromkeys(places.values())], rows, uneven):
        waiting.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield piece()
            waiting, count, before = [], 0, before + count
    if count:
        yield piece()
    _say_uneven(path, uneven)


def check_tables(source: Source, wanted: Sequence[str], columns: ColumnNames | None = None) -> None:
    """Checks that files have the wanted columns, without reading them; see `read_tables`."""
    renames = as_renames(columns)
    if is_table(source):
        return
    for path in each(find_files(source), "of the files"):
        _places(path, wanted, renames)


def find_files(source: Any) -> list[Path]:
    """The files of a path, a glob or a list of these, those of a glob by name.

    Raises:
        InputError: there is none, or one has an ending of no format that is read.
    """
    several = isinstance(source, (list, tuple))
    paths = []
    for place in source if several else [source]:
        if not isinstance(place, (str, os.PathLike)):
            names = ("toPandas", "collect")  # of Spark's tables, and of lazy ones of polars
            lazy = (f"; .{name}() makes a table of it" for name in names if hasattr(place, name))
            raise InputError(
                "`path` should be a file, a glob, several of them, or a table of pandas, polars or "
                f"pyarrow. Received: {type(place).__name__}{next(lazy, '')}."
            )
        path = Path(place)
        if not path.exists() and glob.has_magic(str(place)):
            matches = sorted(glob.glob(str(place)))
            if not matches:
                raise InputError(f"`path` should match files. Received: {place}, which has none.")
            paths += map(Path, matches)
        else:
            paths.append(path)
    if not paths:
        raise InputError("`path` should name at least one file. Received: none.")
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"`path` should be files. Received: the folder {path}; name what is in it, such as "
                f"'{path}/*.parquet'."
            )
        if format_of(path) is None:
            raise InputError(
                f"`path` should end in one of {', '.join(ENDINGS)}, or in these and .gz where it "
                f"is text. Received: {path}."
            )
        if not path.is_file():
            raise InputError(f"`path` should be a file that exists. Received: {path}.")
    return paths


def _places(path, wanted, renames):
    """The columns of a file, and what it calls the wanted ones."""
    there = column_names(path, [*wanted, *renames.values()])
    return there, find_columns(there, wanted, renames, str(path))


def _renamed(table, found):
    columns = {name: table.column(there) for name, there in found.items()}
    for name, column in columns.items():
        if pa.types.is_string_view(column.type):  # of polars; few of Arrow's functions read it
            columns[name] = column.cast(pa.large_string())
    return pa.table(columns)


def _say_uneven(path, rows):
    if rows:
        progress.line(
            f"{path}: left out {len(rows):,} row{'s' * (len(rows) != 1)} with more or fewer values "
            f"than columns, such as {rows[0][:80]!r}"
        )


def _others(there, found):
    return [name for name in there if name not in found.values()]


def _frame_columns(source):
    """The columns of a dict or a DataFrame, from which some can be taken; else none."""
    if isinstance(source, dict) or hasattr(source, "dtypes"):
        names = source if isinstance(source, dict) else source.columns
        return [name for name in names if isinstance(name, str)]
    return []


def _in_memory(source, chosen=None):
    where = source_name(source)
    try:
        if chosen:
            is_dict = isinstance(source, dict)
            source = {name: source[name] for name in chosen} if is_dict else source[chosen]
        if isinstance(source, dict) or hasattr(source, "__arrow_c_stream__"):
            return pa.table(source)
        return pyarrow.interchange.from_dataframe(source)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(" ".join(map(str, error.args)).split())
        raise InputError(
            "`path` should be a table whose columns have one type and one length. "
            f"Received: {where} ({reason})."
        ) from error
