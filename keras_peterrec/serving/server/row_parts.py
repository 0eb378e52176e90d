"""How large inputs are, and how they are cut by rows."""

import numpy as np


def size_of(arrays):
    """Bytes of arrays and of the strings in them.

    Args:
        arrays: list of arrays; strings are bytes objects.

    Returns:
        int.
    """
    size = 0
    for array in arrays:
        size += array.nbytes
        if array.dtype == object:
            size += sum(map(len, array.reshape(-1).tolist()))
    return size


def row_parts(inputs, max_rows, max_bytes):
    """Inputs in parts of a few whole rows each.

    Args:
        inputs: dict from name to array, all of one length.
        max_rows: int. Of a part.
        max_bytes: int. Of a part of more than one row.

    Returns:
        list of dicts from name to array.

    Example:

    >>> [part["x"].tolist() for part in row_parts({"x": np.arange(5)}, 2, 1000)]
    [[0, 1], [2, 3], [4]]
    """
    sizes = _row_sizes(list(inputs.values()))
    starts, size = [0], 0
    for row, more in enumerate(sizes):
        size += more
        if row > starts[-1] and (row - starts[-1] == max_rows or size > max_bytes):
            starts.append(row)
            size = more
    ends = [*starts[1:], len(sizes)]
    return [
        {name: array[start:end] for name, array in inputs.items()}
        for start, end in zip(starts, ends, strict=True)
    ]


def _row_sizes(arrays):
    rows = len(arrays[0])
    sizes = np.zeros(rows, np.int64)
    for array in arrays:
        sizes += array.nbytes // rows
        if array.dtype == object:
            lengths = np.array([len(text) for text in array.reshape(-1).tolist()], np.int64)
            sizes += lengths.reshape(rows, -1).sum(1)
    return sizes.tolist()
