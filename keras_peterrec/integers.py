"""Arrays of integers: the different ones of many, and slices laid end to end.

`np.unique` hashes integers since NumPy 2.3: on two million ids that is sixty times slower than
sorting them.
"""

import numpy as np


def distinct(values: np.ndarray) -> np.ndarray:
    """The different integers of an array, sorted."""
    values = np.sort(values, axis=None)
    return values[np.append(True, values[1:] != values[:-1])[: len(values)]]


def distinct_pairs(owners: np.ndarray, items: np.ndarray, size: int | np.integer) -> tuple:
    """Pairs of owners and items, each once, sorted by owner and then by item, as two int64 arrays.

    Both come as `[M]`; owners are not negative, items in `[0, size)`.
    """
    owners = np.asarray(owners, np.int64)
    return np.divmod(distinct(owners * np.int64(size) + items), np.int64(size))


def counted_up(counts: np.ndarray) -> np.ndarray:
    """`0, 1, ..., counts[0] - 1, 0, 1, ..., counts[1] - 1, ...`"""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def slices(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places in slices, one slice after the other: of which slice each is, and the places."""
    owners = np.repeat(np.arange(len(lengths)), lengths)
    return owners, np.repeat(starts, lengths) + counted_up(lengths)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Where groups of these lengths begin and end, end to end: int64, one more than lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype("int64")
