"""The fits of the linear part to labels against scikit-learn, and the choice of their penalty."""

import numpy as np
import pytest
from linear_samples import ITEMS, matrices, random_rows
from sklearn import linear_model

from keras_peterrec.linear import label_regression
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.label_regression import LabelRegression, best_label_regression
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.linear.linear_table import LinearTable


def squared(truths):
    return lambda found: (np.sum((found - truths) ** 2) / 2, found - truths)


def log_loss(truths):
    def loss(found):
        logs = found - np.logaddexp.reduce(found, axis=1, keepdims=True)
        chosen = np.eye(found.shape[1])[truths]
        return -np.sum(logs * chosen), np.exp(logs) - chosen

    return loss


@pytest.mark.parametrize("bag", [Bag(), Bag(power=0.5)])
def test_regression_to_a_number_is_scikit_learns(bag):
    items, starts, stops, *_ = rows = random_rows(7, users=80, cuts=1)
    numbers = np.random.default_rng(0).normal(3.0, 2.0, (len(starts), 1))
    regression = LabelRegression(bag, items, starts, stops, ITEMS, [3.0], squared(numbers))
    oracle = linear_model.Ridge(alpha=2.0).fit(matrices(bag, rows)[0], numbers)
    for penalty in (50.0, 2.0):  # the second starts from the first
        found = regression.solve(penalty)
    np.testing.assert_allclose(found.table[:, 0], oracle.coef_.reshape(-1), atol=1e-3)
    np.testing.assert_allclose(found.bias, oracle.intercept_, atol=1e-3)


def test_regression_to_classes_is_scikit_learns():
    items, starts, stops, *_ = rows = random_rows(8, users=90, cuts=1)
    classes = np.random.default_rng(0).integers(0, 3, len(starts))
    regression = LabelRegression(Bag(), items, starts, stops, ITEMS, np.zeros(3), log_loss(classes))
    found = regression.solve(4.0)
    x = matrices(Bag(), rows)[0]
    oracle = linear_model.LogisticRegression(C=1 / 4.0, tol=1e-8, max_iter=1_000).fit(x, classes)
    scores = x @ found.table + found.bias
    probabilities = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, oracle.predict_proba(x), atol=1e-3)


def test_items_that_no_training_user_has_say_nothing():
    items, starts, stops = np.array([4, 5, 5, 1]), np.array([0, 2]), np.array([2, 4])
    found = LabelRegression(Bag(), items, starts, stops, 9, [0.0], squared(np.ones((2, 1))))
    table = found.solve(1.0).table
    assert table.shape == (9, 1) and np.flatnonzero(table).tolist() == [0, 1]


def test_a_table_most_of_which_is_empty_is_sparse(monkeypatch):
    items, starts, stops = np.array([4, 5, 90, 1]), np.array([0, 2]), np.array([2, 4])
    answers = squared(np.ones((2, 3)))
    regression = LabelRegression(Bag(), items, starts, stops, 100, np.zeros(3), answers)
    dense = regression.solve(1.0)
    monkeypatch.setattr(label_regression, "MOST_DENSE", 200)
    sparse = regression.solve(1.0)
    assert sparse.is_sparse and not dense.is_sparse and sparse.values == 9
    np.testing.assert_allclose(sparse.table.toarray(), dense.table, atol=1e-6)
    layer = LinearTable.of_part(sparse.moved(2.0, towards=0.5))
    history = np.array([[4, 90], [0, 7]])
    expected = LinearTable.of_part(dense.moved(2.0, towards=0.5))(history)
    np.testing.assert_allclose(layer(history), expected, atol=1e-5)


def test_the_penalty_is_chosen_by_users_that_are_not_fitted():
    """Labels of noise ask for a strong penalty, labels of the bag for a weak one."""
    items, starts, stops, *_ = rows = random_rows(9, users=400, cuts=1)
    x, random = matrices(Bag(), rows)[0], np.random.default_rng(0)
    half = np.arange(len(starts)) < len(starts) // 2
    chosen = []
    for noise in (20.0, 0.1):
        truths = x @ random.normal(size=(ITEMS, 1)) + random.normal(0, noise, (len(starts), 1))

        def make(bag):
            fitted = LabelRegression(
                bag, items, starts[half], stops[half], ITEMS, [0.0], squared(truths[half])
            )

            def others(part):
                found = part.scores(items, starts[~half], stops[~half]).all()
                return np.sum((found - truths[~half]) ** 2, axis=1) / 2

            return [(fitted, others)]

        chosen.append(best_label_regression(make).chosen)
    assert chosen[1]["power"] == 0 and chosen[0] != chosen[1]
    assert chosen[1]["penalty"] <= 3.0


def test_of_penalties_that_few_users_cannot_tell_apart_the_strongest_is_taken():
    part = {penalty: LinearPart(Bag(), None, None, {"penalty": penalty}) for penalty in (30, 10, 3)}
    of_users = np.random.default_rng(0).normal(size=100)
    of_users -= of_users.mean()

    def strongest(*means):
        losses = [mean + (mean > 0) * of_users for mean in means]
        return label_regression._strongest(list(zip(losses, part.values()))).chosen["penalty"]

    assert strongest(0.05, 0.02, 0.0) == 30  # standard errors of the differences are 0.1
    assert strongest(0.5, 0.02, 0.0) == 10
    assert strongest(0.5, 0.3, 0.0) == 3
