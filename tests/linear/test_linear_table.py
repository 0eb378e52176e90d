"""The linear part's layer against NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_samples import random_part, scores_of

from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.linear.linear_table import LinearTable

ITEMS, OUTPUTS = 9, 5
BAGS = [Bag(), Bag(fade=2.0), Bag(power=1.0), Bag(fade=8.0, power=0.5, events=4), Bag(events=1)]
each_bag = pytest.mark.parametrize("bag", BAGS, ids=str)
each_form = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])


def random_histories(rows=6, length=11, seed=0):
    """Padded on the left, some empty; unknown items, other special ids and repeats among them."""
    random = np.random.default_rng(seed)
    histories = random.integers(1, ITEMS + 4, (rows, length))
    for row, count in enumerate(random.integers(0, length + 1, rows)):
        histories[row, : length - count] = 0
    histories[0] = 0
    return histories


@each_form
@each_bag
def test_scores_are_the_formulas(bag, sparse):
    part = random_part(ITEMS, OUTPUTS, bag, sparse)
    histories = random_histories()
    expected = [scores_of(part, history) for history in histories]
    found = LinearTable.of_part(part)(histories)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)
    # And those of NumPy for many histories at once.
    offsets = np.arange(len(histories) + 1) * histories.shape[1]
    many = part.scores(histories.reshape(-1), offsets[:-1], offsets[1:])
    np.testing.assert_allclose(many.all(), expected, atol=1e-5)
    np.testing.assert_allclose(many(np.array([2, 1])), np.array(expected)[[2, 1]], atol=1e-5)
    moved = many.moved(2.0).moved(0.25, towards=0.1).all()
    np.testing.assert_allclose(moved, 0.25 * (2.0 * np.array(expected) - 0.1), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, ITEMS + 3), max_size=9), min_size=1, max_size=4),
    st.sampled_from(BAGS),
    st.booleans(),
    st.integers(0, 5),
)
def test_padding_and_unknown_items_are_inert(rows, bag, sparse, more):
    layer = LinearTable.of_part(random_part(ITEMS, OUTPUTS, bag, sparse))
    width = max(map(len, rows)) + 1

    def padded(rows, width):
        return np.array([[0] * (width - len(row)) + row for row in rows])

    known = [[item for item in row if item >= 4] for row in rows]
    expected = np.asarray(layer(padded(known, width)))
    np.testing.assert_allclose(np.asarray(layer(padded(rows, width + more))), expected, atol=1e-5)


@each_form
def test_a_table_of_nothing_says_the_bias(sparse):
    part = random_part(ITEMS, OUTPUTS, sparse=sparse).moved(0.0).folded()
    if sparse:
        part.table.eliminate_zeros()
    part = LinearPart(part.bag, part.table, np.arange(OUTPUTS, dtype="float32"))
    layer = LinearTable.of_part(part)
    np.testing.assert_array_equal(np.asarray(layer(random_histories())), [part.bias] * 6)
    assert layer.part().is_sparse == sparse


@each_form
def test_layer_part_and_config_are_the_same(sparse):
    part = random_part(ITEMS, OUTPUTS, Bag(2.0, 0.5, 7), sparse)
    layer = LinearTable.of_part(part)
    again = layer.part()
    assert again.weight == part.weight != 1.0
    assert again.bag == part.bag and again.is_sparse == sparse and again.values == part.values
    np.testing.assert_array_equal(np.asarray(again.bias), part.bias)
    difference = again.table - part.table
    assert abs(difference).max() == 0
    twin = LinearTable.from_config(layer.get_config())
    for one, other in zip(twin.weights, layer.weights):
        assert (one.path, one.shape, one.dtype) == (other.path, other.shape, other.dtype)
    assert list(layer.named_weights()) == [
        *("linear/table", "linear/bias"),
        *(("linear/columns", "linear/starts") if sparse else ()),
    ]
    assert not layer.trainable_weights
    assert layer.compute_output_spec(keras.Input((None,))).shape == (None, OUTPUTS)


def test_moved_scores_are_scaled_around_a_point():
    part = random_part(ITEMS, OUTPUTS)
    start = np.arange(OUTPUTS) / 4
    moved = part.moved(0.3, start)
    history = random_histories()[3]
    expected = 0.3 * (scores_of(part, history) - start)
    np.testing.assert_allclose(scores_of(moved, history), expected, atol=1e-5)


@pytest.mark.parametrize("users", [1, 20], ids=["by rows", "by bags"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_few_and_many_events_are_the_formula_whatever_is_known_of_the_shape(users, sparse):
    # 12 events are few beside 40 items, 20 users' are not.
    part = random_part(40, OUTPUTS, Bag(fade=2.0), sparse)
    histories = np.random.default_rng(1).integers(0, 44, (users, 12))
    layer = LinearTable.of_part(part)
    expected = [scores_of(part, history[history > 0]) for history in histories]
    np.testing.assert_allclose(np.asarray(layer(histories)), expected, atol=1e-5)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        of_any_shape = tf.function(layer, [tf.TensorSpec([None, None], tf.int32)])
        np.testing.assert_allclose(of_any_shape(histories.astype("int32")), expected, atol=1e-5)
