"""Reading named columns of a CSV or Parquet file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from keras_peterrec.errors import InputError

ENDINGS = (".csv", ".csv.gz", ".parquet")


def read_columns(path, columns):
    """Returns the named columns of a file, in that order.

    In a CSV file every value is read as the string that stands there, so that an
    id such as "0010" stays what it is.

    Args:
        path: str or path. A file whose name ends in .csv, .csv.gz or .parquet.
        columns: sequence of str. The columns to read; others are not read.

    Returns:
        A list of pyarrow chunked arrays, each `[N]`.

    Raises:
        InputError: the file is missing, has another ending, cannot be read, or
            lacks a column.

    Example:

    >>> users, ages = read_columns("users.csv", ["user_id", "age"])
    """
    path = Path(path)
    _check_file(path)
    from_csv = is_csv(path)
    try:
        there = _csv_header(path) if from_csv else pa.parquet.read_schema(path).names
        _check_columns(path, columns, there)
        table = _read_csv(path, columns) if from_csv else _read_parquet(path, columns)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        # Some of these messages run over several lines.
        reason = " ".join(str(error).split())
        raise InputError(
            f"`path` should be a readable {'CSV' if from_csv else 'Parquet'} file. "
            f"Received: {path} ({reason})."
        ) from error
    return [table.column(column) for column in columns]


def is_csv(path):
    """Returns whether a file's values are text, by its name."""
    return not str(path).lower().endswith(".parquet")


def _check_file(path):
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(f"`path` should end in one of {', '.join(ENDINGS)}. Received: {path}.")
    if not path.is_file():
        raise InputError(f"`path` should be a file that exists. Received: {path}.")


def _check_columns(path, columns, there):
    for column in columns:
        if there.count(column) != 1:
            raise InputError(
                f"`path` should have one column `{column}`. "
                f"Received: {path} with the columns {', '.join(there)}."
            )


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
    # ParquetFile takes the path as it is: read_table would read "year=2020" in a
    # folder's name as one more column.
    with pa.parquet.ParquetFile(path) as file:
        return file.read(columns=list(columns))
