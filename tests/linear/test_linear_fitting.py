"""The fits of the linear part to items against NumPy and scikit-learn, and the best weight."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_samples import ITEMS, OUTPUTS, bag_of, matrices, random_rows
from sklearn import linear_model

from keras_peterrec.linear import item_regression as fitting
from keras_peterrec.linear import linear_fitting
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.item_regression import ItemRegression, item_regression
from keras_peterrec.linear.linear_fitting import best_ease, best_item_regression, best_weight
from keras_peterrec.linear.linear_part import LinearPart, LinearScores, Rows


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 9_999),
    st.sampled_from([Bag(), Bag(fade=2.0), Bag(fade=4.0, power=0.5), Bag(power=1.0, events=5)]),
    st.sampled_from([0.5, 30.0]),
)
def test_ridge_to_items_is_the_closed_form(seed, bag, penalty):
    rows = random_rows(seed)
    found = ItemRegression(bag, rows, ITEMS, OUTPUTS).solve(penalty)
    x, y = matrices(bag, rows)
    expected = np.linalg.solve(x.T @ x + penalty * np.eye(ITEMS), x.T @ y)
    np.testing.assert_allclose(found.table, expected, atol=1e-4)
    assert found.bag == bag and not found.bias.any()


def test_ridge_to_items_does_not_depend_on_how_cuts_are_taken_together(monkeypatch):
    rows = random_rows(1, users=3, cuts=30)
    whole = ItemRegression(Bag(fade=2.0), rows, ITEMS, OUTPUTS).solve(3.0).table
    monkeypatch.setattr(fitting, "CUTS", 2)
    parts = ItemRegression(Bag(fade=2.0), rows, ITEMS, OUTPUTS).solve(3.0).table
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_ridge_is_held_to_an_earlier_table():
    rows, penalty = random_rows(3), 5.0
    regression = ItemRegression(Bag(), rows, ITEMS, OUTPUTS)
    x, y = (np.asarray(matrix, "float64") for matrix in matrices(Bag(), rows))
    earlier = np.random.default_rng(0).normal(size=(ITEMS, OUTPUTS))
    scale = np.sum((x @ earlier) * y) / np.sum((x @ earlier) ** 2)  # least squares
    eye = penalty * np.eye(ITEMS)
    expected = np.linalg.solve(x.T @ x + eye, x.T @ y + penalty * scale * earlier)
    found = regression.solve(penalty, earlier)
    np.testing.assert_allclose(found.table, expected, atol=1e-4)
    assert found.chosen["goes_on"] and "goes_on" not in regression.solve(penalty).chosen
    # A strong penalty leaves what was known, a weak one asks the rows.
    np.testing.assert_allclose(regression.solve(1e7, earlier).table, scale * earlier, atol=1e-3)


@pytest.mark.parametrize("sparse", [False, True])
def test_an_item_of_the_history_scores_more_by_how_much_it_counts_there(sparse):
    rows, bag = random_rows(5), Bag(2.0)
    same = np.array([3, -1, 0, -1, -1, 6, -1, -1, -1, 2])
    part = ItemRegression(bag, rows, ITEMS, OUTPUTS).solve(5.0)
    if sparse:
        part = dataclasses.replace(part, table=scipy.sparse.csr_matrix(part.table))
    copying, histories = part.copying(0.3, same), rows[:3]
    expected, bags = part.scores(*histories).all(), matrices(bag, rows)[0]
    for item in np.flatnonzero(same >= 0):
        expected[:, same[item]] += 0.3 * bags[:, item]
    np.testing.assert_allclose(copying.scores(*histories).all(), expected, atol=1e-4)
    assert copying.chosen["copy"] == 0.3 and "copy" not in part.chosen
    assert part.copying(0.0, same) is part


@pytest.mark.parametrize("exact", [True, False])
def test_where_items_repeat_rare_ones_are_copied_too(exact, monkeypatch):
    """Every history is of one item again and again; most items have a row or none."""
    if not exact:
        monkeypatch.setattr(fitting, "EXACT_UP_TO", 4)
    random = np.random.default_rng(0)
    size, held = 40, np.arange(20, 40)

    def rows_of(items, targets):
        starts = np.arange(len(items))
        stops, offsets = starts + 1, np.arange(len(items) + 1)
        return Rows(items + 4, starts, stops, offsets, targets)

    repeated = random.integers(0, 20, 300)
    training = rows_of(repeated, np.where(random.random(300) < 0.5, repeated, 0))
    validation = rows_of(held, held)

    def quality(part):
        scores = part.scores(*validation[:3]).all()
        own = scores[np.arange(20), held]
        return 1.0 * ((scores >= own[:, None]).sum(axis=1) == 1)

    make, same = lambda bag: item_regression(bag, training, size, size), np.arange(size)
    shares = training.shares(size)
    found = best_item_regression(make, quality, shares, same=same)
    assert found.chosen["copy"] > 0 and quality(found).all()
    # Where no item of a history is answered, or none is a target, nothing is tried.
    for same in (None, np.full(size, -1)):
        assert "copy" not in best_item_regression(make, quality, shares, same=same).chosen


@pytest.mark.parametrize("exact", [True, False])
def test_a_history_that_says_nothing_is_answered_by_what_is_popular(exact, monkeypatch):
    """Half of the histories say what follows; the others are of items that training never had."""
    if not exact:
        monkeypatch.setattr(fitting, "EXACT_UP_TO", 4)
    random = np.random.default_rng(0)
    size, count = 12, 200
    items = random.permutation(np.repeat([0, 1, 2, 3], count // 4))
    targets = np.where(items < 2, items + 8, np.where(random.random(count) < 0.8, 10, 11))
    starts, offsets = np.arange(count), np.arange(count + 1)
    training = Rows(items + 4, starts, starts + 1, offsets, targets)
    asked = np.concatenate([items[:20], np.full(20, 6)])
    wanted = np.concatenate([targets[:20], np.full(20, 10)])

    def quality(part):
        scores = part.scores(asked + 4, np.arange(40), np.arange(1, 41)).all()
        own = scores[np.arange(40), wanted]
        return 1.0 * ((scores >= own[:, None]).sum(axis=1) == 1)

    make, shares = lambda bag: item_regression(bag, training, size, size), training.shares(size)
    found = best_item_regression(make, quality, shares)
    assert found.chosen["popularity"] > 0 and quality(found).mean() >= 0.9
    np.testing.assert_allclose(found.bias, found.chosen["popularity"] * shares, rtol=1e-6)
    again = make(found.bag).solve(found.chosen["penalty"])
    again = again.as_chosen(found.chosen, np.full(size, -1), shares)
    assert again.chosen == found.chosen and (again.bias == found.bias).all()


def test_an_earlier_table_is_taken_where_it_is_better():
    rows = random_rows(4)
    earlier = LinearPart(Bag(fade=4.0), np.eye(ITEMS, OUTPUTS, dtype="float32"), np.zeros(OUTPUTS))

    def best(sign):
        return best_item_regression(
            lambda bag: ItemRegression(bag, rows, ITEMS, OUTPUTS),
            lambda part: np.full(3, sign * float("goes_on" in part.chosen)),
            rows.shares(OUTPUTS),
            earlier,
        )

    assert best(1).chosen.get("goes_on") and not best(-1).chosen.get("goes_on")


def test_scikit_learn_agrees_with_ridge_to_items():
    rows = random_rows(2, users=40)
    x, y = matrices(Bag(), rows)
    oracle = linear_model.Ridge(alpha=3.0, fit_intercept=False).fit(x, y)
    found = ItemRegression(Bag(), rows, ITEMS, OUTPUTS).solve(3.0).table
    np.testing.assert_allclose(found, oracle.coef_.T, atol=1e-4)


def test_a_tiny_penalty_is_solved_in_more_digits():
    """Items that always come together: X'X alone cannot be inverted."""
    for users in range(1, 40):
        items, starts = np.array([4, 5, 6] * users), np.arange(0, 3 * users, 3)
        rows = Rows(items, starts, starts + 3, np.arange(users + 1), np.zeros(users, int))
        found = ItemRegression(Bag(), rows, 3, 1).solve(1e-6)
        assert found.table.sum() == pytest.approx(1.0, abs=1e-3)


def test_the_best_fade_and_penalty_are_taken():
    """The next item is that of two events ago: what came later should not count more."""
    random = np.random.default_rng(5)
    items = random.integers(4, 14, 400)
    stops = np.arange(2, 399)
    rows = Rows(items, np.zeros(397, int), stops, np.arange(398), items[stops - 2] - 4)
    made, seen = [], []

    def make(bag):
        made.append(bag)
        return ItemRegression(Bag(bag.fade, events=2), rows, ITEMS, ITEMS)

    def quality(part):
        scores = part.scores(items, rows.starts[-100:], stops[-100:]).all()
        hits = scores.argmax(axis=1) == rows.targets[-100:]
        seen.append(hits.mean())
        return 1.0 * hits

    best = best_item_regression(make, quality, rows.shares(ITEMS))
    assert quality(best).mean() == max(seen)
    assert best.chosen.keys() == {"fade", "penalty"}
    assert 2 <= len(made) <= len(linear_fitting.FADES)


def test_the_first_rows_are_those_of_whole_users():
    items, starts = np.arange(4, 14), np.array([0, 0, 3, 3, 3, 8])
    stops, targets = np.array([1, 2, 4, 5, 6, 9]), np.arange(7)
    rows = Rows(items, starts, stops, np.array([0, 1, 1, 3, 4, 6, 7]), targets)
    for count in (2, 3, 4):  # the second user's rows do not all fit
        found = rows.first(count)
        assert found.starts.tolist() == [0, 0] and found.stops.tolist() == [1, 2]
        assert found.offsets.tolist() == [0, 1, 1] and found.targets.tolist() == [0]
    assert rows.first(5).targets.tolist() == [0, 1, 2, 3, 4, 5]
    assert rows.first(6) is rows


def test_ease_is_the_closed_form():
    items, starts, stops, *_ = random_rows(6, users=60, cuts=1)
    bags = Bag(events=99).matrix(items, starts, stops, ITEMS)
    found = best_ease(bags, lambda part: -abs(part.chosen["penalty"] - 20))
    x = np.array([bag_of(items[a:b], Bag(events=99), ITEMS) > 0 for a, b in zip(starts, stops)])
    inverse = np.linalg.inv(x.T.astype(float) @ x + 20.0 * np.eye(ITEMS))
    expected = np.eye(ITEMS) - inverse / np.diag(inverse)
    assert found.chosen == {"penalty": 20.0}
    np.testing.assert_allclose(found.table, expected, atol=1e-4)


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

    def hits(weight):
        return (network + weight * linear).argmax(axis=1) == targets

    quality = lambda weight: np.mean(hits(weight))
    found = best_weight(hits, users, table, scores_that_are(linear))
    if truth == "network":
        assert found == 0
    if truth == "both":
        assert 0.5 < found * linear.std() / network.std() < 2.0
        assert quality(found) > max(quality(0), quality(1e6)) + 0.2
    if truth == "linear":
        # The network may end with no weight at all: what it says is noise here.
        assert quality(found) == quality(1e6) == 1.0
    assert quality(found) >= quality(0) - 0.02


def test_the_weight_of_many_items_is_chosen_with_a_few_scores_in_memory(monkeypatch):
    monkeypatch.setattr(linear_fitting, "SPREAD_SCORES", 60, raising=False)
    random = np.random.default_rng(0)
    users, table = random.normal(size=(300, 8)), random.normal(size=(20, 8))
    scores, asked = random.normal(0, 5.0, (300, 20)), []

    def linear(rows):
        asked.append(len(rows))
        return scores[rows]

    found = best_weight(lambda weight: np.full(9, -abs(weight - 0.5)), users, table, linear)
    assert max(asked) <= 60 // 20 and sum(asked) == 300
    spreads = np.std(users @ table.T, axis=1).mean(), np.std(scores, axis=1).mean()
    steps = np.array(linear_fitting.SHARES) * spreads[0] / spreads[1]
    assert found == pytest.approx(steps[np.abs(steps - 0.5).argmin()])


def test_scores_of_nothing_weigh_nothing():
    users, table = np.ones((4, 2)), np.ones((3, 2))
    assert (
        best_weight(lambda weight: np.ones(9), users, table, scores_that_are(np.zeros((4, 3))))
        == 0.0
    )


def test_values_are_what_is_held():
    part = LinearPart(Bag(), np.ones((ITEMS, OUTPUTS), "float32"), np.zeros(OUTPUTS, "float32"))
    assert part.values == ITEMS * OUTPUTS and part.outputs == OUTPUTS


@pytest.mark.parametrize("users", [30, 3_000])
def test_what_may_be_chance_is_moved_towards_equal_shares(users):
    """The linear part alone is a little better for each user, but they differ much."""
    random = np.random.default_rng(0)
    states, table = random.normal(size=(users, 8)), random.normal(size=(20, 8))
    scores, noise = random.normal(size=(users, 20)), random.normal(size=users)
    spreads = linear_fitting._spreads(states, table, scores_that_are(scores))
    unit = spreads[0] / spreads[1]

    def gains(weight):
        alone = weight / (weight + unit)  # from 0 to 1
        return 0.1 * alone + 2 * noise * alone

    gains_of_chance = lambda weight: (
        gains(weight) - gains(weight).mean() + 0.1 * weight / (weight + unit)
    )
    found = best_weight(gains_of_chance, states, table, scores_that_are(scores)) / unit
    if users == 30:
        assert found == pytest.approx(1.0)
    else:
        assert found > 5
