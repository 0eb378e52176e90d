"""Arrays that a caller gave, checked for type, shape and range."""

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError


def integer_array(name: str, values: ArrayLike, low: int, high: int) -> np.ndarray:
    """Returns `values` as int64 `[M]`.

    Raises:
        InputError: if they are not integers in `[low, high)`, in one dimension.
    """
    values = np.asarray(values)
    if values.size == 0:
        values = values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InputError(
            f"`{name}` should be a one-dimensional array of integers. Received: "
            f"`{name}` of shape {values.shape} and dtype {values.dtype}."
        )
    wrong = (values < low) | (values >= high)
    if wrong.any():
        raise InputError(
            f"`{name}` should be integers from {low} to {high - 1}. Received: "
            f"{values[wrong][0]} at position {int(np.argmax(wrong))}."
        )
    return values.astype(np.int64)


def float_table(name: str, values: ArrayLike, dtype: type = np.float32) -> np.ndarray:
    """Returns `values` as a contiguous matrix of floats; NaN and infinity may pass.

    Raises:
        InputError: if they are not numbers, or not a matrix with at least one column.
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(
            f"`{name}` should be a matrix with at least one column. "
            f"Received: `{name}` of shape {values.shape}."
        )
    return _as_floats(name, values, dtype)


def float_array(name: str, values: ArrayLike) -> np.ndarray:
    """Returns `values` as float64 `[N]`.

    Raises:
        InputError: if they are not finite numbers, in one dimension.
    """
    values = np.asarray(values)
    if values.ndim != 1:
        raise InputError(
            f"`{name}` should be one-dimensional. Received: `{name}` of shape {values.shape}."
        )
    values = _as_floats(name, values, np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(
            f"`{name}` should be finite numbers. Received: {values[row]} at position {row}."
        )
    return values


def _as_floats(name: str, values: np.ndarray, dtype: type) -> np.ndarray:
    try:
        if values.dtype.kind in "US":
            raise ValueError("text is not converted")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`{name}` should be numbers. Received: `{name}` of dtype {values.dtype}."
        ) from error


def csr_lists(
    names: tuple[str, str], offsets: ArrayLike, items: ArrayLike, rows: int | None, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns lists of items in compressed form, CSR, as offsets and items.

    Row n has `items[offsets[n]:offsets[n + 1]]`.

    Args:
        names: pair of str. The names of the two arguments, for messages.
        offsets: int array `[rows + 1]`.
        items: int array, each in `[-1, size)`.
        rows: int or `None`. The number of rows, where it is known.

    Returns:
        A tuple of int64 arrays, the offsets and the items.

    Raises:
        InputError: if the offsets do not rise from 0 to the number of items, or an
            item is out of range.
    """
    items = integer_array(names[1], items, -1, size)
    offsets = integer_array(names[0], offsets, 0, len(items) + 1)
    if rows is None:
        rows = max(0, len(offsets) - 1)
    ends_fit = len(offsets) == rows + 1 and offsets[0] == 0 and offsets[-1] == len(items)
    if not ends_fit or (np.diff(offsets) < 0).any():
        raise InputError(
            f"`{names[0]}` should be {rows + 1} rising integers from 0 to "
            f"len({names[1]}) = {len(items)}. Received: {len(offsets)} integers, "
            f"{offsets[:3].tolist()} ... {offsets[-1:].tolist()}."
        )
    return offsets, items
