"""Columns of a table: read from a CSV or Parquet file, and checked as ids, numbers or text."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from keras_peterrec.data.id_text import check_ids
from keras_peterrec.errors import InputError

Column = Sequence | np.ndarray | pa.Array | pa.ChunkedArray
ENDINGS = (".csv", ".csv.gz", ".parquet")


def read_columns(path: str | Path, columns: Sequence[str]) -> list[pa.ChunkedArray]:
    """Reads the named columns of a file, in that order.

    Every value of a CSV file is read as a string, so that an id such as "0010" keeps
    its zeros.

    Args:
        path: str or path. A file whose name ends in .csv, .csv.gz or .parquet.
        columns: sequence of str. The columns to read; others are not read.

    Returns:
        A list of pyarrow chunked arrays, each `[N]`.

    Raises:
        InputError: if the file is missing, has another ending, cannot be read, or
            lacks a column.

    Example:

    >>> users, ages = read_columns("users.csv", ["user_id", "age"])
    """
    path = Path(path)
    check_columns(path, columns)
    with _clear_errors(path):
        table = _read_csv(path, columns) if is_csv(path) else _read_parquet(path, columns)
    return [table.column(column) for column in columns]


def check_columns(path: str | Path, columns: Sequence[str]) -> None:
    """Checks that a file has the named columns, without reading them; see `read_columns`."""
    path = Path(path)
    _check_file(path)
    with _clear_errors(path):
        there = _csv_header(path) if is_csv(path) else pa.parquet.read_schema(path).names
    for column in columns:
        if there.count(column) != 1:
            raise InputError(
                f"`path` should have one column `{column}`. "
                f"Received: {path} with the columns {', '.join(there)}."
            )


@contextlib.contextmanager
def _clear_errors(path):
    """Turns what pyarrow raises about a file into one line."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        # Some of these messages have several lines.
        reason = " ".join(str(error).split())
        raise InputError(
            f"`path` should be a readable {'CSV' if is_csv(path) else 'Parquet'} file. "
            f"Received: {path} ({reason})."
        ) from error


def is_csv(path: str | Path) -> bool:
    """Returns whether a file holds text values, judging by its name."""
    return not str(path).lower().endswith(".parquet")


def _check_file(path):
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(f"`path` should end in one of {', '.join(ENDINGS)}. Received: {path}.")
    if not path.is_file():
        raise InputError(f"`path` should be a file that exists. Received: {path}.")


def _csv_header(path):
    with pa.csv.open_csv(path) as reader:
        return reader.schema.names


def _read_csv(path, columns):
    options = pa.csv.ConvertOptions(
        include_columns=list(columns),
        column_types={column: pa.string() for column in columns},
    )
    return pa.csv.read_csv(path, convert_options=options)


def _read_parquet(path, columns):
    # ParquetFile takes the path literally: read_table would take "year=2020" in a
    # folder's name for one more column.
    with pa.parquet.ParquetFile(path) as file:
        return file.read(columns=list(columns))


def encode_ids(values: Column, argument: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different ids of a column, and each row as an index into them.

    Args:
        values: sequence, numpy or pyarrow array `[N]`. Strings or integers;
            an integer is read as its decimal string.
        argument: str. What messages call the column.

    Returns:
        A tuple `(ids, codes)`: object array of different strings in order of
        first appearance, and int32 array `[N]`.

    Raises:
        InputError: if an id is missing, empty, has a line break, or is neither a string nor an
            integer; or if two would be written alike in a history, see `written`.

    Example:

    >>> encode_ids([7, 9, 7], "item_ids")[1].tolist()
    [0, 1, 0]
    """
    column = arrow_column(values, argument)
    if len(column) == 0:
        raise InputError(f"`{argument}` should not be empty. Received: no rows.")
    if column.null_count:
        raise InputError(
            f"`{argument}` should have an id in every row. "
            f"Received: none in row {_first_row(pc.is_null(column))}."
        )
    if not (pa.types.is_integer(column.type) or _is_text(column.type)):
        # A library may have made floats of integers because some are missing.
        raise InputError(f"`{argument}` should be strings or integers. Received: {column.type}.")
    encoded = column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    ids = _as_strings(encoded.dictionary, argument).to_numpy(zero_copy_only=False)
    check_ids(ids, argument)
    return ids, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)


def numbers(values: Column, argument: str) -> np.ndarray:
    """Returns a column as int64 if every number is whole, otherwise as float64.

    So the same numbers give the same array, whether a file has `3` or `3.0`.

    Args:
        values: sequence, numpy or pyarrow array `[N]` of finite numbers.
        argument: str. What messages call the column.

    Raises:
        InputError: if a row has no finite number; the message names the row,
            counted from 1.
    """
    column = arrow_column(values, argument)
    kind = column.type
    if len(column) and column.null_count == len(column):
        kind = pa.float64()
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        received = f"{column[0].as_py()!r} in row 1" if len(column) else str(kind)
        raise InputError(f"`{argument}` should be numbers. Received: {received}.")
    if column.null_count:
        raise InputError(
            f"`{argument}` should be finite numbers. "
            f"Received: none, or NaN, in row {_first_row(pc.is_null(column))}."
        )
    array = column.to_numpy() if len(column) else np.zeros(0, np.int64)
    if pa.types.is_integer(kind):
        return array.astype(np.int64)
    array = array.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(
            f"`{argument}` should be finite numbers. Received: {array[row]} in row {row + 1}."
        )
    # Beyond 2**53, floats cannot tell neighbouring integers apart.
    if np.all(np.abs(array) < 2**53) and np.all(array == np.floor(array)):
        return array.astype(np.int64)
    return array


def numbers_from_text(column: pa.ChunkedArray, argument: str, path: str | Path) -> pa.ChunkedArray:
    """Converts a pyarrow column of strings, as read from a CSV file, to numbers.

    Raises:
        InputError: if a value is not a number; the message names the file, the value
            and its row, counted from 1 below the header.
    """
    for kind in (pa.int64(), pa.float64()):
        if _casts(column, kind):
            return pc.cast(column, kind)
    # Bisect: the longest part from the start that can be cast ends before the bad row.
    good, bad = 0, len(column)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _casts(column.slice(good, middle - good), pa.float64()):
            good = middle
        else:
            bad = middle
    raise InputError(
        f"`{argument}` should be numbers in every row of {path}. "
        f"Received: {column[good].as_py()!r} in row {good + 1}."
    )


def texts(values: Column, argument: str) -> np.ndarray:
    """Returns a column as an object array of stripped strings, `None` where empty.

    Args:
        values: sequence, numpy or pyarrow array `[N]` of strings, numbers or bools.
        argument: str. What messages call the column.

    Raises:
        InputError: if a value is not readable as text.
    """
    column = arrow_column(values, argument)
    stripped = pc.utf8_trim_whitespace(_as_strings(column, argument))
    filled = pc.if_else(pc.equal(stripped, ""), pa.scalar(None, pa.string()), stripped)
    return filled.to_numpy(zero_copy_only=False)


def arrow_column(values: Column, argument: str) -> pa.Array | pa.ChunkedArray:
    """Returns any one-dimensional column as a pyarrow array, with null for missing values.

    Raises:
        InputError: if the values are of different types.
    """
    if not isinstance(values, (pa.Array, pa.ChunkedArray)):
        try:
            values = pa.array(values, from_pandas=True)
        except (pa.ArrowException, UnicodeError, TypeError, ValueError) as error:
            raise InputError(
                f"`{argument}` should be a column of values of one type. "
                f"Received: {' '.join(str(error).split())}."
            ) from error
    if isinstance(values, pa.ChunkedArray) and values.num_chunks == 1:
        values = values.chunk(0)
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    return values


def freeze(*arrays) -> tuple[np.ndarray, ...]:
    """Returns the arrays as read-only ones, because they are shared."""
    frozen = tuple(np.ascontiguousarray(array) for array in arrays)
    for array in frozen:
        array.setflags(write=False)
    return frozen


def _is_text(kind):
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _as_strings(column, argument):
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowException as error:
        raise InputError(
            f"`{argument}` should be readable as text in UTF-8. Received: {column.type}."
        ) from error


def _casts(column, kind):
    try:
        pc.cast(column, kind)
    except pa.ArrowException:
        return False
    return True


def _first_row(flags):
    return pc.index(flags, True).as_py() + 1
