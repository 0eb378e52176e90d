"""Columns of ids, numbers and labels, checked on their way in."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError


def encode_ids(values, argument):
    """Returns the different ids of a column, and each row as a code into them.

    Args:
        values: sequence, numpy or pyarrow array `[N]`. Strings or integers;
            an integer stands for its decimal string.
        argument: str. What the messages call the column.

    Returns:
        A tuple `(ids, codes)`: object array of different strings in order of
        first appearance, and int32 array `[N]`.

    Raises:
        InputError: an id is missing, empty, has white space in it, or is
            neither a string nor an integer.

    Example:

    >>> encode_ids([7, 9, 7], "item_ids")[1].tolist()
    [0, 1, 0]
    """
    column = arrow_column(values, argument)
    if len(column) == 0:
        raise InputError(f"`{argument}` should not be empty. Received: no rows.")
    if column.null_count:
        raise InputError(
            f"`{argument}` should have an id in every row. Received: none in row "
            f"{_first_row(pc.is_null(column))}."
        )
    if not (pa.types.is_integer(column.type) or _is_text(column.type)):
        raise InputError(f"`{argument}` should be strings or integers. Received: {column.type}.")
    encoded = column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    ids = _as_strings(encoded.dictionary, argument).to_numpy(zero_copy_only=False)
    _check_ids(ids, argument)
    return ids, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)


def numbers(values, argument):
    """Returns a column as int64 where every number is whole, else as float64.

    The same numbers thus give the same array, whether a file wrote `3` or `3.0`.

    Args:
        values: sequence, numpy or pyarrow array `[N]` of finite numbers.
        argument: str. What the messages call the column.

    Raises:
        InputError: a row has no finite number; it is named, counted from 1.
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
            f"`{argument}` should be finite numbers. Received: none, or NaN, in row "
            f"{_first_row(pc.is_null(column))}."
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
    # Beyond 2**53 a float no longer tells neighbouring integers apart.
    if np.all(np.abs(array) < 2**53) and np.all(array == np.floor(array)):
        return array.astype(np.int64)
    return array


def numbers_from_text(column, argument, path):
    """Returns a pyarrow column of strings, as a CSV file has them, as numbers.

    Raises:
        InputError: a value is no number; the file, the value and its row
            (counted from 1 below the header) are named.
    """
    for kind in (pa.int64(), pa.float64()):
        if _casts(column, kind):
            return pc.cast(column, kind)
    # The longest beginning that can be cast ends just before the bad row.
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


def texts(values, argument):
    """Returns a column as an object array of stripped strings; None where empty.

    Args:
        values: sequence, numpy or pyarrow array `[N]` of strings, numbers or bools.
        argument: str. What the messages call the column.
    """
    column = arrow_column(values, argument)
    stripped = pc.utf8_trim_whitespace(_as_strings(column, argument))
    filled = pc.if_else(pc.equal(stripped, ""), pa.scalar(None, pa.string()), stripped)
    return filled.to_numpy(zero_copy_only=False)


def arrow_column(values, argument):
    """Returns any one-dimensional column as a pyarrow array, missing as null."""
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


def freeze(*arrays):
    """Returns the arrays as ones nobody can write to, since they are shared."""
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


def _check_ids(ids, argument):
    # The different characters of all ids are few; the ids may be millions.
    spaces = any(map(str.isspace, set("".join(ids))))
    if not spaces and "" not in ids:
        return
    bad = next(id_ for id_ in ids if id_.split() != [id_])
    raise InputError(
        f"`{argument}` should be ids that are not empty and have no white space. Received: {bad!r}."
    )


def _casts(column, kind):
    try:
        pc.cast(column, kind)
    except pa.ArrowException:
        return False
    return True


def _first_row(flags):
    return pc.index(flags, True).as_py() + 1
