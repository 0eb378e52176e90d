"""The fits of the linear part against NumPy and scikit-learn, and the choice of its weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_samples import bag_of
from sklearn import linear_model

from keras_peterrec.layers.linear_table import LinearTable
from keras_peterrec.models import linear_fitting
from keras_peterrec.models.linear_fitting import (
    ItemRegression,
    LabelRegression,
    best_ease,
    best_item_regression,
    best_label_regression,
    best_weight,
)
from keras_peterrec.models.linear_part import Bag, LinearPart, LinearScores

ITEMS, OUTPUTS = 10, 7


def random_rows(seed, users=12, longest=15, cuts=4):
    """Users' histories, with unknown items and repeats, and rows that are cuts of them."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, longest + 1, users)
    items = random.choice([1, *range(4, ITEMS + 4)], lengths.sum())
    ends = np.cumsum(lengths)
    rows = []
    for start, stop in zip(ends - lengths, ends):
        stops = random.integers(start, stop + 1, random.integers(0, cuts + 1))
        rows += [(start, cut) for cut in stops]  # in any order, some of them twice
    rows = np.array(rows).reshape(-1, 2)[random.permutation(len(rows))]
    counts = random.integers(0, 4, len(rows))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return items, rows[:, 0], rows[:, 1], offsets, random.integers(0, OUTPUTS, offsets[-1])


def matrices(bag, items, starts, stops, offsets, targets):
    """The dense X and Y, one row after the other."""
    x = np.array([bag_of(items[a:b], bag, ITEMS) for a, b in zip(starts, stops)])
    y = np.zeros((len(starts), OUTPUTS))
    for row in range(len(starts)):
        np.add.at(y[row], targets[offsets[row] : offsets[row + 1]], 1)
    return x.reshape(-1, ITEMS), y


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 9_999),
    st.sampled_from([Bag(), Bag(fade=2.0), Bag(fade=4.0, power=0.5), Bag(power=1.0, events=5)]),
    st.sampled_from([0.5, 30.0]),
)
def test_ridge_to_items_is_the_closed_form(seed, bag, penalty):
    rows = random_rows(seed)
    found = ItemRegression(bag, *rows, ITEMS, OUTPUTS).solve(penalty)
    x, y = matrices(bag, *rows)
    expected = np.linalg.solve(x.T @ x + penalty * np.eye(ITEMS), x.T @ y)
    np.testing.assert_allclose(found.table, expected, atol=1e-4)
    assert found.bag == bag and not found.bias.any()


def test_ridge_to_items_does_not_depend_on_how_cuts_are_taken_together(monkeypatch):
    rows = random_rows(1, users=3, cuts=30)
    whole = ItemRegression(Bag(fade=2.0), *rows, ITEMS, OUTPUTS).solve(3.0).table
    monkeypatch.setattr(linear_fitting, "CUTS", 2)
    parts = ItemRegression(Bag(fade=2.0), *rows, ITEMS, OUTPUTS).solve(3.0).table
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_ridge_is_held_to_an_earlier_table():
    rows, penalty = random_rows(3), 5.0
    regression = ItemRegression(Bag(), *rows, ITEMS, OUTPUTS)
    x, y = (np.asarray(matrix, "float64") for matrix in matrices(Bag(), *rows))
    earlier = np.random.default_rng(0).normal(size=(ITEMS, OUTPUTS))
    scale = np.sum((x @ earlier) * y) / np.sum((x @ earlier) ** 2)  # least squares
    eye = penalty * np.eye(ITEMS)
    expected = np.linalg.solve(x.T @ x + eye, x.T @ y + penalty * scale * earlier)
    found = regression.solve(penalty, earlier)
    np.testing.assert_allclose(found.table, expected, atol=1e-4)
    assert found.chosen["goes_on"] and "goes_on" not in regression.solve(penalty).chosen
    # A strong penalty leaves what was known, a weak one asks the rows.
    np.testing.assert_allclose(regression.solve(1e7, earlier).table, scale * earlier, atol=1e-3)


def test_an_earlier_table_is_taken_where_it_is_better():
    rows = random_rows(4)
    earlier = LinearPart(Bag(fade=4.0), np.eye(ITEMS, OUTPUTS, dtype="float32"), np.zeros(OUTPUTS))

    def best(sign):
        return best_item_regression(
            lambda bag: ItemRegression(bag, *rows, ITEMS, OUTPUTS),
            lambda part: sign * float("goes_on" in part.chosen),
            earlier,
        )

    assert best(1).chosen.get("goes_on") and not best(-1).chosen.get("goes_on")


def test_scikit_learn_agrees_with_ridge_to_items():
    rows = random_rows(2, users=40)
    x, y = matrices(Bag(), *rows)
    oracle = linear_model.Ridge(alpha=3.0, fit_intercept=False).fit(x, y)
    found = ItemRegression(Bag(), *rows, ITEMS, OUTPUTS).solve(3.0).table
    np.testing.assert_allclose(found, oracle.coef_.T, atol=1e-4)


def test_a_tiny_penalty_is_solved_in_more_digits():
    """Items that always come together: X'X alone cannot be inverted."""
    for users in range(1, 40):
        items, starts = np.array([4, 5, 6] * users), np.arange(0, 3 * users, 3)
        rows = items, starts, starts + 3, np.arange(users + 1), np.zeros(users, int)
        found = ItemRegression(Bag(), *rows, 3, 1).solve(1e-6)
        assert found.table.sum() == pytest.approx(1.0, abs=1e-3)


def test_the_best_fade_and_penalty_are_taken():
    """The next item is that of two events ago: what came later should not count more."""
    random = np.random.default_rng(5)
    items = random.integers(4, 14, 400)
    rows = np.arange(2, 399)
    columns = items, np.zeros(397, int), rows, np.arange(398), items[rows - 2] - 4
    made, seen = [], []

    def make(bag):
        made.append(bag)
        return ItemRegression(Bag(bag.fade, events=2), *columns, ITEMS, ITEMS)

    def quality(part):
        scores = part.scores(items, columns[1][-100:], rows[-100:]).all()
        hits = float(np.mean(scores.argmax(axis=1) == columns[4][-100:]))
        seen.append((hits, part))
        return hits

    best = best_item_regression(make, quality)
    assert quality(best) == max(hits for hits, _ in seen)
    assert best.chosen.keys() == {"fade", "penalty"}
    assert 2 <= len(made) <= len(linear_fitting.FADES)


def test_ease_is_the_closed_form():
    items, starts, stops, *_ = random_rows(6, users=60, cuts=1)
    found = best_ease(items, starts, stops, ITEMS, lambda part: -abs(part.chosen["penalty"] - 20))
    x = np.array([bag_of(items[a:b], Bag(events=99), ITEMS) > 0 for a, b in zip(starts, stops)])
    inverse = np.linalg.inv(x.T.astype(float) @ x + 20.0 * np.eye(ITEMS))
    expected = np.eye(ITEMS) - inverse / np.diag(inverse)
    assert found.chosen == {"penalty": 20.0}
    np.testing.assert_allclose(found.table, expected, atol=1e-4)
    assert best_ease(items, starts, stops, linear_fitting.EXACT_UP_TO + 1, None) is None


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
    oracle = linear_model.Ridge(alpha=2.0).fit(matrices(bag, *rows)[0], numbers)
    for penalty in (50.0, 2.0):  # the second starts from the first
        found = regression.solve(penalty)
    np.testing.assert_allclose(found.table[:, 0], oracle.coef_.reshape(-1), atol=1e-3)
    np.testing.assert_allclose(found.bias, oracle.intercept_, atol=1e-3)


def test_regression_to_classes_is_scikit_learns():
    items, starts, stops, *_ = rows = random_rows(8, users=90, cuts=1)
    classes = np.random.default_rng(0).integers(0, 3, len(starts))
    regression = LabelRegression(Bag(), items, starts, stops, ITEMS, np.zeros(3), log_loss(classes))
    found = regression.solve(4.0)
    x = matrices(Bag(), *rows)[0]
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
    monkeypatch.setattr(linear_fitting, "MOST_DENSE", 200)
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
    x, random = matrices(Bag(), *rows)[0], np.random.default_rng(0)
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
        return linear_fitting._strongest(list(zip(losses, part.values()))).chosen["penalty"]

    assert strongest(0.05, 0.02, 0.0) == 30  # standard errors of the differences are 0.1
    assert strongest(0.5, 0.02, 0.0) == 10
    assert strongest(0.5, 0.3, 0.0) == 3


def scores_that_are(table):
    bags = np.eye(len(table), dtype="float32")
    return LinearScores(bags, table.astype("float32"), np.zeros(table.shape[1], "float32"))


@pytest.mark.parametrize("truth", ["network", "linear", "both", "nothing"])
def test_the_best_weight_follows_what_helps(truth):
    random = np.random.default_rng(0)
    users, table = random.normal(size=(300, 8)), random.normal(size=(20, 8))
    network, linear = users @ table.T, random.normal(0, 5.0, (300, 20))
    wanted = {
        "network": network,
        "linear": linear,
        "both": network / network.std() + linear / linear.std(),
        "nothing": random.normal(size=(300, 20)),
    }[truth]
    targets = wanted.argmax(axis=1)

    def quality(weight):
        return np.mean((network + weight * linear).argmax(axis=1) == targets)

    found = best_weight(quality, users, table, scores_that_are(linear))
    if truth == "network":
        assert found == 0
    if truth == "both":
        assert 0.5 < found * linear.std() / network.std() < 2.0
        assert quality(found) > max(quality(0), quality(1e6)) + 0.2
    if truth == "linear":
        assert quality(found) >= quality(1e6) - 0.02
    assert quality(found) >= quality(0)


def test_scores_of_nothing_weigh_nothing():
    users, table = np.ones((4, 2)), np.ones((3, 2))
    assert best_weight(lambda weight: 1.0, users, table, scores_that_are(np.zeros((4, 3)))) == 0.0


def test_values_are_what_is_held():
    part = LinearPart(Bag(), np.ones((ITEMS, OUTPUTS), "float32"), np.zeros(OUTPUTS, "float32"))
    assert part.values == ITEMS * OUTPUTS and part.outputs == OUTPUTS
