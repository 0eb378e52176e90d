"""What columns say of users, in the linear part: rows of its table before those of the items."""

import numpy as np
import pytest
from linear_samples import ITEMS, OUTPUTS, matrices, random_part, random_rows, scores_of

from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.item_regression import ItemRegression
from keras_peterrec.linear.label_regression import LabelRegression
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.linear.sparse_regression import SparseRegression

VALUES = 4  # of two columns, of two each


def told_of(count, seed=0):
    """Numbers of values, some not told, and the same as ones and zeros."""
    draw = np.random.default_rng(seed)
    told = np.stack([draw.integers(0, 3, count), draw.integers(0, 3, count)], axis=1)
    told[:, 1] += 2 * (told[:, 1] > 0)
    ones = (told[:, :, None] == np.arange(1, VALUES + 1)).any(axis=1).astype("float32")
    return told, ones


def rows_with_users(seed=5):
    rows = random_rows(seed, users=90)  # so many that everything meets everything
    told, ones = told_of(len(rows.starts))
    return rows._replace(told=told, user_values=VALUES), ones


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_ridge_reads_them_as_items(power):
    (rows, ones), bag = rows_with_users(), Bag(2.0, power)
    x, y = matrices(bag, rows)
    x = np.concatenate([ones, x], axis=1)
    expected = np.linalg.solve(x.T @ x + 5.0 * np.eye(VALUES + ITEMS), x.T @ y)
    part = ItemRegression(bag, rows, ITEMS, OUTPUTS).solve(5.0)
    np.testing.assert_allclose(part.table, expected, atol=1e-4)
    counts = np.bincount(rows.items, minlength=ITEMS + 4)[4:], np.bincount(rows.targets)
    few = SparseRegression(bag, ITEMS, OUTPUTS, *counts, user_values=VALUES)
    few.add(rows)
    np.testing.assert_allclose(few.solve(5.0).table.toarray(), expected, atol=1e-4)
    scores = part.scores(rows.items, rows.starts, rows.stops, rows.told).all()
    np.testing.assert_allclose(scores, x @ expected, atol=1e-4)


def test_a_label_that_they_alone_tell_is_learned():
    rows, ones = rows_with_users()
    answers = 3.0 * ones[:, :1] - ones[:, 3:]

    def loss(outputs):
        return 0.5 * np.sum((outputs - answers) ** 2, axis=1), outputs - answers

    given = rows.items, rows.starts, rows.stops, ITEMS, np.zeros(1), loss, rows.told, VALUES
    part = LabelRegression(Bag(), *given).solve(1e-3)
    scores = part.scores(rows.items, rows.starts, rows.stops, rows.told).all()
    np.testing.assert_allclose(scores, answers, atol=0.05)
    assert part.table.shape == (VALUES + ITEMS, 1)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_the_layer_adds_what_is_told_and_nothing_else(sparse):
    part = random_part(VALUES + ITEMS, OUTPUTS, Bag(4.0, 0.5), sparse)
    part.user_values = VALUES
    layer, draw = LinearTable.of_part(part), np.random.default_rng(1)
    histories = draw.integers(1, ITEMS + 4, (6, 9))
    told, ones = told_of(6)
    table = part.table.toarray() if sparse else part.table
    items = random_part(ITEMS, OUTPUTS, part.bag)
    items.table, items.bias = table[VALUES:], part.bias
    expected = np.array([scores_of(items, history) for history in histories])
    np.testing.assert_allclose(np.asarray(layer(histories)), expected, atol=1e-5)
    expected += part.weight * ones @ table[:VALUES]
    np.testing.assert_allclose(np.asarray(layer(histories, told)), expected, atol=1e-5)
    offsets = np.arange(7) * 9
    scores = part.scores(histories.reshape(-1), offsets[:-1], offsets[1:], told).all()
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert layer.part().user_values == VALUES
