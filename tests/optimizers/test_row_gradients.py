"""Gradient rows of one table row are summed, as a dense gradient sums them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.optimizers.row_sparse_adam import distinct_rows, single_rows, total_rows

ROWS = 6


def slices(ids, seed=0, width=(3,)):
    values = np.random.default_rng(seed).integers(-8, 9, size=(len(ids), *width))
    return tf.IndexedSlices(
        tf.constant(values, "float32"), tf.constant(ids, "int32"), tf.constant([ROWS, *width])
    )


def dense(gradient):
    """What NumPy makes of it; the values are small integers, so sums are exact."""
    result = np.zeros(gradient.dense_shape.numpy(), "float32")
    np.add.at(result, gradient.indices.numpy(), gradient.values.numpy())
    return result


@given(ids=st.lists(st.integers(0, ROWS - 1), max_size=12), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_sums_are_the_dense_gradient(ids, seed):
    gradient = slices(ids, seed)
    rows, totals = total_rows(gradient)
    assert rows.numpy().tolist() == sorted(ids)
    np.testing.assert_array_equal(totals, dense(gradient)[rows.numpy()])
    distinct, of_distinct = distinct_rows(gradient)
    assert sorted(distinct.numpy().tolist()) == sorted(set(ids))
    np.testing.assert_array_equal(of_distinct, dense(gradient)[distinct.numpy()])
    single = single_rows(gradient)
    np.testing.assert_array_equal(dense(single), dense(gradient))
    assert np.sum(single.values.numpy() ** 2) == np.sum(dense(gradient) ** 2)


@pytest.mark.parametrize("jit", (False, True))
@pytest.mark.parametrize("width", ((), (3,), (2, 2)))
def test_any_rank_in_a_graph_and_compiled(width, jit):
    gradient = slices([4, 0, 4, 4, 5, 0], width=width)
    rows, totals = tf.function(total_rows, jit_compile=jit)(gradient)
    np.testing.assert_array_equal(totals, dense(gradient)[rows.numpy()])
    single = tf.function(lambda g: single_rows(g).values, jit_compile=jit)(gradient)
    assert np.count_nonzero(np.abs(single).reshape(6, -1).sum(-1)) <= 3


def test_one_number_that_is_not_finite_stays_in_its_row():
    gradient = slices([1, 2, 1])
    values = gradient.values.numpy()
    values[1] = np.nan
    gradient = tf.IndexedSlices(tf.constant(values), gradient.indices, gradient.dense_shape)
    single = single_rows(gradient)
    assert np.isnan(single.values.numpy()).all(axis=-1).tolist() == [False, False, True]


def test_keeps_the_type_of_the_ids():
    gradient = tf.IndexedSlices(tf.ones((2, 3)), tf.constant([2**40, 5], tf.int64))
    rows, _ = total_rows(gradient)
    assert rows.dtype == tf.int64 and rows.numpy().tolist() == [5, 2**40]
