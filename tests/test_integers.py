"""Distinct integers are those of NumPy; slices end to end."""

import numpy as np
import pytest

from keras_peterrec.integers import counted_up, distinct, distinct_pairs, slices


@pytest.mark.parametrize("values", [[], [3], [5, -2, 5, 5, 0], [[4, 1], [1, 2]]])
def test_distinct_is_numpys_unique(values):
    values = np.array(values, "int32")
    np.testing.assert_array_equal(distinct(values), np.unique(values))
    assert distinct(values).dtype == values.dtype


def test_pairs_are_sorted_once_each():
    random = np.random.default_rng(0)
    owners, items = random.integers(0, 9, 200), random.integers(0, 7, 200)
    expected = sorted(set(zip(owners.tolist(), items.tolist())))
    found = distinct_pairs(owners.astype("int32"), items.astype("int32"), 7)
    assert list(zip(*(part.tolist() for part in found))) == expected
    # As int32 the product would overflow.
    large = distinct_pairs(np.array([50_000], "int32"), np.array([1], "int32"), 100_000)
    assert [part.tolist() for part in large] == [[50_000], [1]]


def test_slices_end_to_end():
    lengths = np.array([2, 0, 3, 1])
    assert counted_up(lengths).tolist() == [0, 1, 0, 1, 2, 0]
    owners, places = slices(np.array([7, 1, 0, 5]), lengths)
    assert owners.tolist() == [0, 0, 2, 2, 2, 3]
    assert places.tolist() == [7, 8, 0, 1, 2, 5]
    assert [len(part) for part in slices(lengths[:0], lengths[:0])] == [0, 0]
