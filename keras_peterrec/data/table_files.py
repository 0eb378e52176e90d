"""Tables of a user's own: files of several formats, globs of them, and tables in memory."""

import contextlib
import csv
import glob
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.interchange
import pyarrow.json
import pyarrow.parquet

from keras_peterrec.data.column_names import as_renames, find_columns
from keras_peterrec.errors import InputError

SEPARATORS = (",", "\t", ";", "|")
ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")
_HEAD = 2**16  # bytes at the start of a file that tell its columns
_SAMPLED = 200  # lines of a JSON file that do


@dataclass(frozen=True)
class Tables:
    """The wanted columns of one or several tables, under their standard names.

    Args:
        parts: list of pyarrow tables, one a file.
        names: list of str, what messages call them.
        ignored: list of str, columns that are there and not read.
    """

    parts: list
    names: list
    ignored: list

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


def is_table(source: Any) -> bool:
    """Whether something is a table: of pandas, polars or pyarrow, or a dict of columns."""
    offers = hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__")
    return offers or isinstance(source, dict)


def source_name(source: Any) -> str:
    """What messages call a table or files."""
    if is_table(source):
        return f"the {type(source).__name__}"
    if isinstance(source, (list, tuple)):
        more = f" and {len(source) - 1} more" if len(source) > 1 else ""
        return f"{source[0]}{more}" if source else "no file"
    return str(source)


def read_tables(source: Any, wanted: Sequence[str], columns: Any = None) -> Tables:
    """Reads the wanted columns of a table, of a file, or of several files with the same columns.

    Every value of a CSV file is read as text, so that an id such as "0010" keeps its zeros. The
    separator is found out. Text is UTF-8, or UTF-16 with its byte order mark.

    Args:
        source: path; glob such as `"clicks/*.parquet"`; list of these; or a table that offers
            `__arrow_c_stream__` or `__dataframe__` (pandas, polars, pyarrow), or a dict of columns.
        wanted: sequence of str. The columns to read; others are not read.
        columns: dict from a wanted column to what it is called in the table. Defaults to `None`.

    Returns:
        Tables.

    Raises:
        InputError: a file is missing, of another format or cannot be read, or lacks a column.

    Example:

    >>> read_tables("users.csv", ["user_id", "age"]).column("age")
    """
    renames = as_renames(columns)
    if is_table(source):
        where, there = source_name(source), _frame_columns(source)
        # Other columns, which are not read, may hold what Arrow cannot.
        read = {name.strip() for name in (*wanted, *renames.values())}
        chosen = [name for name in there if name.strip() in read]
        whole = len(chosen) < len(wanted)  # an index may have the rest
        table = _in_memory(source, None if whole else chosen)
        found = find_columns(table.column_names, wanted, renames, where)
        there = [n for n in there or table.column_names if not n.startswith("__index_level_")]
        return Tables([_renamed(table, found)], [where], _others(there, found))
    parts, names, ignored = [], [], {}
    for path in find_files(source):
        there = _column_names(path, [*wanted, *renames.values()])
        found = find_columns(there, wanted, renames, str(path))
        with _clear_errors(path):
            table = _READERS[_format(path)](path, [*dict.fromkeys(found.values())])
        parts.append(_renamed(table, found))
        names.append(str(path))
        ignored |= dict.fromkeys(_others(there, found))
    return Tables(parts, names, [*ignored])


def read_pieces(
    path: str | Path, wanted: Sequence[str], columns: Any = None, rows: int = 1_000_000
) -> Iterator[pa.Table]:
    """Reads one file as `read_tables` does, about so many rows at a time.

    Lines of JSON are read at once.

    Args:
        path: path.
        wanted, columns: see `read_tables`.
        rows: int.

    Yields:
        pyarrow tables of the wanted columns, under their standard names.

    Raises:
        InputError: see `read_tables`.
    """
    path, renames = Path(path), as_renames(columns)
    there = _column_names(path, [*wanted, *renames.values()])
    found = find_columns(there, wanted, renames, str(path))
    waiting, count = [], 0
    with _clear_errors(path):
        for batch in _BATCHES[_format(path)](path, [*dict.fromkeys(found.values())], rows):
            waiting.append(batch)
            count += batch.num_rows
            if count >= rows:
                yield _renamed(pa.Table.from_batches(waiting), found)
                waiting, count = [], 0
        if count:
            yield _renamed(pa.Table.from_batches(waiting), found)


def check_tables(source: Any, wanted: Sequence[str], columns: Any = None) -> None:
    """Checks that files have the wanted columns, without reading them; see `read_tables`."""
    renames = as_renames(columns)
    if is_table(source):
        return
    for path in find_files(source):
        there = _column_names(path, [*wanted, *renames.values()])
        find_columns(there, wanted, renames, str(path))


def find_files(source: Any) -> list[Path]:
    """The files of a path, a glob or a list of these, those of a glob by name.

    Raises:
        InputError: there is none, or one has an ending of no format that is read.
    """
    several = isinstance(source, (list, tuple))
    found = []
    for place in source if several else [source]:
        if not isinstance(place, (str, os.PathLike)):
            raise InputError(
                "`path` should be a file, a glob, several of them, or a table of pandas, polars or "
                f"pyarrow. Received: {type(place).__name__}."
            )
        path = Path(place)
        if not path.exists() and glob.has_magic(str(place)):
            matches = sorted(glob.glob(str(place)))
            if not matches:
                raise InputError(f"`path` should match files. Received: {place}, which has none.")
            found += map(Path, matches)
        else:
            found.append(path)
    if not found:
        raise InputError("`path` should name at least one file. Received: none.")
    for path in found:
        if path.is_dir():
            raise InputError(
                f"`path` should be files. Received: the folder {path}; name what is in it, such as "
                f"'{path}/*.parquet'."
            )
        if _format(path) is None:
            raise InputError(
                f"`path` should end in one of {', '.join(ENDINGS)}, or in these and .gz where it "
                f"is text. Received: {path}."
            )
        if not path.is_file():
            raise InputError(f"`path` should be a file that exists. Received: {path}.")
    return found


def is_read(path: str | Path) -> bool:
    """Whether the name of a file is that of a format that is read."""
    return _format(Path(path)) is not None


def _format(path):
    """`"CSV"`, `"JSON"` or `"Parquet"`, by the file's name; `None` for others."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return "Parquet"
    name = name.removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return "JSON"
    return "CSV" if name.endswith((".csv", ".tsv", ".txt")) else None


def _renamed(table, found):
    columns = {name: table.column(there) for name, there in found.items()}
    for name, column in columns.items():
        if pa.types.is_string_view(column.type):  # of polars; few of Arrow's functions read it
            columns[name] = column.cast(pa.large_string())
    return pa.table(columns)


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
        reason = " ".join(map(str, error.args))
        raise InputError(
            "`path` should be a table whose columns have one type and one length. "
            f"Received: {where} ({_one_line(reason)})."
        ) from error


def _column_names(path, hoped):
    """The names of a file's columns, without reading the file."""
    with _clear_errors(path):
        kind = _format(path)
        if kind == "Parquet":
            return pa.parquet.read_schema(path).names
        if kind == "JSON":
            return [*dict.fromkeys(name for row in _json_sample(path) for name in row)]
        return _csv_form(path, hoped)[1]


# CSV.


def _csv_form(path, hoped):
    """The separator of a file, its columns' names, and its encoding."""
    head, encoding = _head(path)
    lines = head.replace("\r", "\n").split("\n")
    line = next((text for text in lines if text.strip()), "")
    if not line:
        raise InputError(f"`path` should be a readable CSV file. Received: {path}, which is empty.")
    # A separator by which the wanted columns are found, else the one with most columns.
    names = {sep: next(csv.reader([line], delimiter=sep)) for sep in SEPARATORS}
    best = max(names, key=lambda sep: (len(set(hoped) & set(names[sep])), len(names[sep])))
    return best, names[best], encoding


def _head(path):
    """The first lines of a text file, and its encoding."""
    with _opened(path) as file:
        head = file.read(_HEAD)
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if encoding == "utf-8" and b"\0" in head:
        raise InputError(
            "`path` should be text in UTF-8, or in UTF-16 with its byte order mark. Received: "
            f"{path}, which has zero bytes; if it is UTF-16, try iconv -f UTF-16LE -t UTF-8."
        )
    return head.decode(encoding, errors="replace").removeprefix("\ufeff"), encoding


def _opened(path):
    return gzip.open(path) if path.name.lower().endswith(".gz") else open(path, "rb")


def _read_csv(path, columns):
    return pa.csv.read_csv(path, **_csv_options(path, columns))


def _csv_batches(path, columns, rows):
    return pa.csv.open_csv(path, **_csv_options(path, columns, block_size=2**23))


def _csv_options(path, columns, **blocks):
    separator, _, encoding = _csv_form(path, columns)
    quoted = '"' in _head(path)[0]  # only then may a value have a line break
    return {
        "read_options": pa.csv.ReadOptions(encoding=encoding, **blocks),
        "parse_options": pa.csv.ParseOptions(delimiter=separator, newlines_in_values=quoted),
        "convert_options": pa.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
        ),
    }


# Lines of JSON, and Parquet.


def _json_sample(path):
    rows = []
    with _opened(path) as file:
        for line, _ in zip(file, range(_SAMPLED)):
            row = json.loads(line) if line.strip() else {}
            if not isinstance(row, dict):
                raise InputError(
                    "`path` should hold one JSON object a line, such as "
                    f'{{"user_id": "ann", "item_id": "i1", "timestamp": 3}}. Received: {path}.'
                )
            rows.append(row)
    return rows


def _read_json(path, columns):
    sample = _json_sample(path)
    # Arrow would make dates of texts that look like some.
    is_text = {n: all(isinstance(row.get(n, ""), str | None) for row in sample) for n in columns}
    schema = pa.schema([(name, pa.string()) for name in columns if is_text[name]])
    options = pa.json.ParseOptions(explicit_schema=schema, newlines_in_values=False)
    table = pa.json.read_json(path, parse_options=options)
    return table.select(columns)


def _read_parquet(path, columns):
    # ParquetFile takes the path literally: read_table would take "year=2020" in a
    # folder's name for one more column.
    with pa.parquet.ParquetFile(path) as file:
        return file.read(columns=columns)


def _parquet_batches(path, columns, rows):
    with pa.parquet.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns)


_BATCHES = {
    "CSV": _csv_batches,
    "JSON": lambda path, columns, rows: _read_json(path, columns).to_batches(rows),
    "Parquet": _parquet_batches,
}
_READERS = {"CSV": _read_csv, "JSON": _read_json, "Parquet": _read_parquet}


@contextlib.contextmanager
def _clear_errors(path):
    """Turns what is raised about a file into one line."""
    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeError, ValueError) as error:
        row = _row_not_in_utf8(path) if "UTF8" in str(error) else None
        if row is not None:
            raise InputError(
                f"`path` should be text in UTF-8. Received: {path}, whose row {row} is not; if it "
                "is Latin-1, try iconv -f WINDOWS-1252 -t UTF-8."
            ) from error
        raise InputError(
            f"`path` should be a readable {_format(path)} file. "
            f"Received: {path} ({_one_line(error)})."
        ) from error


def _row_not_in_utf8(path):
    """The first row, counted from 1 below the names, that is not UTF-8; `None` if all are."""
    with _opened(path) as file:
        for row, line in enumerate(file):
            try:
                line.decode()
            except UnicodeError:
                return row
    return None


def _one_line(error):
    return " ".join(str(error).split())
