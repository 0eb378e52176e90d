"""One file of a table: CSV, lines of JSON or Parquet, told apart by its name."""

import contextlib
import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from keras_peterrec.errors import InputError
from keras_peterrec.log.table_columns import is_text

ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")
SEPARATORS = (",", "\t", ";", "|")
_HEAD = 2**16  # bytes at the start of a file that tell its columns
_SAMPLED = 200  # lines of a JSON file that do


def format_of(path: str | os.PathLike) -> str | None:
    """`"CSV"`, `"JSON"` or `"Parquet"`, by the name of a file; `None` for others."""
    name = Path(path).name.lower()
    if name.endswith(".parquet"):
        return "Parquet"
    name = name.removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return "JSON"
    return "CSV" if name.endswith((".csv", ".tsv", ".txt")) else None


def column_names(path: Path, hoped: Iterable[str]) -> list[str]:
    """The names of a file's columns, without reading the file.

    `hoped` are columns that it may have: of CSV they tell the separator.

    Raises:
        InputError: the file cannot be read.
    """
    with _clear_errors(path):
        kind = format_of(path)
        if kind == "Parquet":
            return pa.parquet.read_schema(path).names
        if kind == "JSON":
            return [*dict.fromkeys(name for row in _json_sample(path) for name in row)]
        return _csv_form(path, hoped)[1]


def read_columns(path: Path, columns: Sequence[str], uneven: list | None = None) -> pa.Table:
    """Some columns of a file; every value of CSV is text.

    `uneven` gets the text of each row of CSV with more or fewer values than there are columns,
    which is then left out; with `None` it is an error.

    Raises:
        InputError: the file cannot be read.
    """
    with _clear_errors(path):
        kind = format_of(path)
        if kind == "CSV":
            return pa.csv.read_csv(path, **_csv_options(path, columns, uneven))
        return _read_json(path, columns) if kind == "JSON" else _read_parquet(path, columns)


def read_batches(
    path: Path, columns: Sequence[str], rows: int, uneven: list | None = None
) -> Iterator[pa.RecordBatch]:
    """The same in pieces: 8 MB of CSV, at most `rows` rows of Parquet; JSON is read at once."""
    with _clear_errors(path):
        kind = format_of(path)
        if kind == "CSV":
            options = _csv_options(path, columns, uneven, block_size=2**23)
            yield from pa.csv.open_csv(path, **options)
        elif kind == "JSON":
            yield from _read_json(path, columns).to_batches(rows)
        else:
            yield from _parquet_batches(path, columns, rows)


def ends_within_line(path: Path) -> bool:
    """Whether the last line of a CSV file has no end, as when it was written halfway."""
    if format_of(path) != "CSV" or path.name.lower().endswith(".gz"):
        return False
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2))
        end = file.read().replace(b"\0", b"")  # of UTF-16
    return not end.endswith((b"\n", b"\r"))


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


def _csv_options(path, columns, uneven, **blocks):
    separator, _, encoding = _csv_form(path, columns)
    quoted = '"' in _head(path)[0]  # only then may a value have a line break

    def skip(row):
        uneven.append(row.text)
        return "skip"

    return {
        "read_options": pa.csv.ReadOptions(encoding=encoding, **blocks),
        "parse_options": pa.csv.ParseOptions(
            delimiter=separator,
            newlines_in_values=quoted,
            invalid_row_handler=None if uneven is None else skip,
        ),
        "convert_options": pa.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
        ),
    }


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
        table = file.read(columns=columns)
    _check_text(path, table)
    return table


def _parquet_batches(path, columns, rows):
    before = 0
    with pa.parquet.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            _check_text(path, batch, before)
            before += len(batch)
            yield batch


def _check_text(path, table, before=0):
    """Raises InputError if a column of text, which a Parquet file only calls so, is not UTF-8."""
    for name, column in zip(table.schema.names, table.columns):
        if not is_text(column.type):
            continue
        as_bytes = column.cast(pa.large_binary())
        try:
            as_bytes.cast(pa.large_string())  # which looks at every letter, and copies none
        except pa.ArrowInvalid as error:
            values = enumerate(as_bytes.to_pylist(), before + 1)
            row, value = next((n, value) for n, value in values if not _is_utf8(value or b""))
            raise InputError(
                f"`path` should hold text in UTF-8. Received: {path}, whose column {name!r} has "
                f"{value[:40]!r} in row {row}."
            ) from error


def _is_utf8(value):
    try:
        value.decode()
    except UnicodeError:
        return False
    return True


@contextlib.contextmanager
def _clear_errors(path):
    """Turns what is raised about a file into one line."""
    try:
        yield
    except InputError:
        raise
    except (
        *(pa.ArrowException, OSError, EOFError, zlib.error, UnicodeError, ValueError),
        RecursionError,  # JSON that is nested too deeply
    ) as error:
        is_lines = format_of(path) != "Parquet"
        row = _row_not_in_utf8(path) if is_lines and "UTF8" in str(error) else None
        if row is not None:
            raise InputError(
                f"`path` should be text in UTF-8. Received: {path}, whose row {row} is not; if it "
                "is Latin-1, try iconv -f WINDOWS-1252 -t UTF-8."
            ) from error
        more = "; --drop-bad-rows leaves such rows out" if "Expected" in str(error) else ""
        raise InputError(
            f"`path` should be a readable {format_of(path)} file. "
            f"Received: {path} ({' '.join(str(error).split())}{more})."
        ) from error


def _row_not_in_utf8(path):
    """The first row, counted from 1 below the names, that is not UTF-8; `None` if all are."""
    with _opened(path) as file:
        for row, line in enumerate(file):
            if not _is_utf8(line):
                return row
    return None
