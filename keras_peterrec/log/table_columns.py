"""Columns of a table, checked as ids, numbers or text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError, shortened
from keras_peterrec.log.id_text import check_ids

Column: TypeAlias = Sequence | np.ndarray | pa.Array | pa.ChunkedArray

SEPARATOR = "|"  # between several values in one cell

# A vector as text; commas or white space between its numbers.
_VECTOR = re.compile(r"\[[-+0-9.eE,\s]*[0-9][-+0-9.eE,\s]*\]")


def encode_ids(values: Column, argument: str) -> tuple[np.ndarray, np.ndarray]:
    """The different ids of a column, and each row as an index into them.

    An integer is read as its decimal string. `argument` is what messages call the column.

    Returns:
        Object array of different strings in order of first appearance, and int32 array `[N]`.

    Raises:
        InputError: an id is missing, empty, has a line break, or is neither a string nor an
            integer; or two would be written alike in a history, see `written`.

    Example:

    >>> encode_ids([7, 9, 7], "item_ids")[1].tolist()
    [0, 1, 0]
    """
    column = arrow_column(values, argument)
    if len(column) == 0:
        raise InputError(f"`{argument}` should not be empty. Received: no rows.")
    check_id_type(column.type, argument)
    if column.null_count:
        raise InputError(
            f"`{argument}` should have an id in every row. "
            f"Received: none in row {_first_row(pc.is_null(column))}."
        )
    different, codes = encode(column)
    ids = _as_strings(different, argument).to_numpy(zero_copy_only=False)
    check_ids(ids, argument)
    return ids, codes.to_numpy(zero_copy_only=False).astype(np.int32)


def different_items(item_ids: Column) -> np.ndarray:
    """The ids of a table with one row for each item, in its order: object array of str.

    Raises:
        InputError: an item occurs twice, or see `encode_ids`.
    """
    names, codes = encode_ids(item_ids, "item_id")
    if len(names) != len(codes):
        raise InputError(
            "`items` should have one row for each item. "
            f"Received: {len(codes)} rows of {len(names)} items."
        )
    return names


def check_id_type(kind: pa.DataType, argument: str) -> None:
    """Raises InputError if a column of this type holds neither strings nor integers."""
    if pa.types.is_integer(kind) or is_text(kind):
        return
    more = ""
    if pa.types.is_floating(kind):
        # A library makes floats of integers where some are missing.
        more = f'; whole numbers beside missing ones: in pandas frame["{argument}"].astype("Int64")'
    raise InputError(f"`{argument}` should be strings or integers. Received: {kind}{more}.")


def numbers(values: Column, argument: str) -> np.ndarray:
    """A column as int64 if every number is whole, otherwise as float64.

    So the same numbers give the same array, whether a file has `3` or `3.0`.

    Raises:
        InputError: a row has no finite number; the message names the row, counted from 1.
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


def texts(values: Column, argument: str) -> np.ndarray:
    """A column as an object array of stripped strings, `None` where empty.

    Raises:
        InputError: a value is not readable as text.
    """
    return _stripped(values, argument).to_numpy(zero_copy_only=False)


def encode_texts(values: Column, argument: str) -> tuple[np.ndarray, np.ndarray]:
    """The different strings of `texts`, in order of first appearance, and each row as an index into
    them, int32 `[N]`; -1 where empty.
    """
    different, codes = encode(_stripped(values, argument))
    codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    return different.to_numpy(zero_copy_only=False), codes


def encode(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """The different values of a column, and each row as an index into them; null where empty."""
    encoded = pc.dictionary_encode(column)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    return encoded.dictionary, encoded.indices


def arrow_column(values: Column, argument: str) -> pa.Array | pa.ChunkedArray:
    """Any one-dimensional column as a pyarrow array, with null for missing values.

    Raises:
        InputError: the values are of different types.
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


def is_text(kind: pa.DataType) -> bool:
    """Whether a pyarrow type is one of text."""
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _is_list(kind):
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in kinds)


def _stripped(values, argument):
    """A column as strings without white space around them, null where empty."""
    stripped = pc.utf8_trim_whitespace(_as_strings(arrow_column(values, argument), argument))
    return pc.if_else(pc.equal(stripped, ""), pa.scalar(None, pa.string()), stripped)


def _as_strings(column, argument):
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowException as error:
        raise InputError(
            f"`{argument}` should be readable as text in UTF-8. Received: {column.type}."
        ) from error


def _first_row(flags):
    return pc.index(flags, True).as_py() + 1


def vectors(values: Column, column: str) -> np.ndarray | None:
    """A column whose cells hold vectors, lists of floats or texts such as `[0.1, 0.2]`: float32
    `[N, D]`, NaN where a cell is empty. `None` of a column of something else.

    Raises:
        InputError: the vectors are of several lengths, or a number is missing or not finite.
    """
    cells = arrow_column(values, column)
    if _is_list(cells.type):
        if not pa.types.is_floating(cells.type.value_type):
            return None
        rows = cells.to_pylist()
    elif is_text(cells.type):
        rows = [None if cell is None else cell.strip() for cell in cells.to_pylist()]
        if not any(rows) or not all(map(_VECTOR.fullmatch, filter(None, rows))):
            return None
        rows = [row and [float(n) for n in row[1:-1].replace(",", " ").split()] for row in rows]
    else:
        return None
    lengths = sorted({len(row) for row in rows if row})
    if len(lengths) != 1:
        shown = " and ".join(map(str, lengths[:2])) or "0"
        raise InputError(
            f"`{column}` should have vectors of one length. Received: vectors of {shown} numbers."
        )
    nothing = [np.nan] * lengths[0]
    found = np.array([row if row else nothing for row in rows], "float32")
    bad = ~np.isfinite(found).all(axis=1) & np.array(list(map(bool, rows)))
    if bad.any():
        raise InputError(
            f"`{column}` should have vectors of finite numbers. "
            f"Received: {shortened(str(rows[int(np.argmax(bad))]))} in row {np.argmax(bad) + 1}."
        )
    return found


def cell_texts(values: Column, column: str) -> np.ndarray:
    """The `texts` of a column whose cells may also hold lists: these as `Drama|War`."""
    values = arrow_column(values, column)
    if _is_list(values.type):
        cells = pc.cast(values, pa.list_(pa.string())).to_pylist()
        # Not by `pc.binary_join`, for which one missing label makes the whole list a missing one.
        joined = [None if cell is None else SEPARATOR.join(filter(None, cell)) for cell in cells]
        values = pa.array(joined, pa.string())
    return texts(values, column)


@dataclass(frozen=True, eq=False)
class Field:
    """One more column of a log, which nothing here interprets: each event has a text or none.

    Args:
        values: object array of different str.
        codes: int32 array `[N]`, indices into `values`; -1 where an event has none.
    """

    values: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, column: Column, name: str) -> Field:
        """The Field of a column `[N]` of texts, numbers or bools; what is empty is missing."""
        return cls(*encode_texts(column, name))

    def texts(self) -> np.ndarray:
        """The text of each event, object array `[N]`; `None` where it has none."""
        return np.append(self.values, None)[self.codes]

    def __getitem__(self, places: Any) -> Field:
        return Field(self.values, self.codes[places])


def as_field(column: Any, name: str, count: int) -> Field:
    """The Field of a column of `count` events.

    Raises:
        InputError: it has another length, or cannot be read as text.
    """
    field = column if isinstance(column, Field) else Field.of(column, name)
    if len(field.codes) != count:
        raise InputError(
            f"`fields` should have a value for each event. "
            f"Received: {len(field.codes)} of {name!r} for {count} events."
        )
    return field


def checked_weights(values: Any, count: int) -> np.ndarray:
    """How much each of `count` events counts, float32.

    Raises:
        InputError: there are more or fewer, or one is negative or not finite.
    """
    weights = numbers(values, "weights").astype("float32")
    if len(weights) != count:
        raise InputError(
            f"`weights` should be one for each event. Received: {len(weights)} for {count} events."
        )
    if weights.min() < 0 or not np.isfinite(weights).all():
        row = int(np.argmax((weights < 0) | ~np.isfinite(weights)))
        raise InputError(
            "`weights` should be finite and at least 0. "
            f"Received: {weights[row]:g} in row {row + 1}."
        )
    return weights
