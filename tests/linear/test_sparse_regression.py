"""Ridge regression between many items: that of all items where nothing is left out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.linear import item_regression as fitting
from keras_peterrec.linear import sparse_regression
from keras_peterrec.linear.bag import EVENTS as LONGEST
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.item_regression import ItemRegression, item_regression
from keras_peterrec.linear.linear_fitting import best_penalty
from keras_peterrec.linear.linear_part import Rows
from keras_peterrec.linear.sparse_regression import EVENTS, SparseRegression

ITEMS, OUTPUTS = 10, 7


def task_rows(seed, users=300):
    """Cuts of users' histories, with unknown items and repeats, and targets of another kind."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 16, users)
    items = random.choice([1, *range(4, ITEMS + 4)], lengths.sum())
    ends = np.cumsum(lengths)
    stops = random.integers(ends - lengths, ends + 1)
    counts = random.integers(0, 4, users)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Rows(items, ends - lengths, stops, offsets, random.integers(0, OUTPUTS, offsets[-1]))


def next_rows(seed, users=40, longest=70):
    """A row for every event of users whose item is known, but for their first."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, users)
    items = random.choice([1, *range(4, ITEMS + 4)], lengths.sum())
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.flatnonzero((np.arange(len(items)) > starts) & (items >= 4))
    targets = items[places] - 4
    return Rows(items, starts[places], places, np.arange(len(targets) + 1), targets)


def counts_of(rows):
    items = np.bincount(rows.items, minlength=ITEMS + 4)[4:]
    return items, np.bincount(rows.targets, minlength=OUTPUTS)


def fitted(rows, bag, parts=1, penalty=10.0, next_items=True):
    counts = counts_of(rows)
    if next_items:
        found = SparseRegression(bag, ITEMS, ITEMS, counts[0])
    else:
        found = SparseRegression(bag, ITEMS, OUTPUTS, *counts)
    items, starts, stops, offsets, targets, *_ = rows
    ends = np.searchsorted(starts, np.linspace(0, len(items), parts + 1)[1:-1])  # whole users
    for some in np.split(np.arange(len(starts)), ends):
        if len(some):
            at = offsets[some[0] : some[-1] + 2]
            of_some = targets[at[0] : at[-1]]
            found.add(Rows(items, starts[some], stops[some], at - at[0], of_some))
    return found.solve(penalty).table.toarray()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9_999), st.sampled_from([None, 2.0, 20.0]), st.sampled_from([1, 3, 500]))
def test_next_items_of_all_candidates_are_the_exact_regression(seed, fade, events):
    rows, bag = next_rows(seed), Bag(fade, events=events)
    exact = ItemRegression(Bag(fade, events=min(events, EVENTS)), rows, ITEMS, ITEMS).solve(10.0)
    np.testing.assert_allclose(fitted(rows, bag), exact.table, atol=2e-3)
    np.testing.assert_allclose(fitted(rows, bag, parts=3), exact.table, atol=2e-3)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_rows_of_a_task_are_the_exact_regression(power, monkeypatch):
    rows, bag = task_rows(3), Bag(2.0, power)
    exact = ItemRegression(bag, rows, ITEMS, OUTPUTS).solve(10.0).table
    np.testing.assert_allclose(fitted(rows, bag, next_items=False), exact, atol=1e-4)
    for dense in (0, 4):  # of the most frequent items, none and some
        monkeypatch.setattr(sparse_regression, "DENSE", dense)
        np.testing.assert_allclose(fitted(rows, bag, next_items=False), exact, atol=1e-4)
    monkeypatch.setattr(sparse_regression, "ROWS", 7)
    monkeypatch.setattr(sparse_regression, "ADDED_PAIRS", 50)
    np.testing.assert_allclose(fitted(rows, bag, next_items=False), exact, atol=1e-4)


def test_candidates_are_the_items_that_explain_a_target_best(monkeypatch):
    rows, bag = task_rows(4), Bag(events=EVENTS)
    monkeypatch.setattr(fitting, "EXACT_UP_TO", 4)
    monkeypatch.setattr(sparse_regression, "CANDIDATES", 3)
    found = item_regression(bag, rows, ITEMS, OUTPUTS).solve(10.0)
    assert found.is_sparse and found.bag.events == EVENTS
    exact = ItemRegression(bag, rows, ITEMS, OUTPUTS)
    table = found.table.toarray()
    for target in range(OUTPUTS):
        explained = exact.right[:, target] ** 2 / (np.diag(exact.gram) + 10.0)
        best = np.sort(np.argsort(-explained)[:3])
        assert np.flatnonzero(table[:, target]).tolist() == best.tolist()
        system = exact.gram[np.ix_(best, best)] + 10.0 * np.eye(3)
        expected = np.linalg.solve(system, exact.right[best, target])
        np.testing.assert_allclose(table[best, target], expected, atol=1e-4)


def test_only_the_most_frequent_items_take_part(monkeypatch):
    rows, bag = next_rows(5), Bag(2.0)
    monkeypatch.setattr(sparse_regression, "MOST_ITEMS", 4)
    table = fitted(rows, bag)
    counts = counts_of(rows)[0]
    frequent = np.sort(np.argsort(-counts, kind="stable")[:4])
    assert np.flatnonzero(table.any(axis=0)).tolist() == frequent.tolist()
    assert np.flatnonzero(table.any(axis=1)).tolist() == frequent.tolist()
    # Events of others still take their places in the bag: the sums are those of all items.
    exact = ItemRegression(Bag(2.0, events=EVENTS), rows, ITEMS, ITEMS)
    gram, right = (m[np.ix_(frequent, frequent)] for m in (exact.gram, exact.right))
    expected = np.linalg.solve(gram + 10.0 * np.eye(4), right)
    np.testing.assert_allclose(table[np.ix_(frequent, frequent)], expected, atol=2e-3)


def test_the_largest_sums_are_kept(monkeypatch):
    monkeypatch.setattr(sparse_regression, "MOST_PAIRS", 20)
    pairs = sparse_regression.Pairs(10, 10)
    values = np.random.default_rng(0).permutation(100).astype("float32") + 1
    for some in np.array_split(np.arange(100), 3):
        pairs.add(some // 10, some % 10, values[some])
    found = pairs.matrix()
    assert found.nnz == 20 and found.data.min() == 81


def test_of_equal_sums_no_more_are_kept(monkeypatch):
    """Where bags do not fade, every pair that occurs once has the same sum."""
    monkeypatch.setattr(sparse_regression, "MOST_PAIRS", 20)
    pairs = sparse_regression.Pairs(10, 10)
    pairs.add(np.arange(100) // 10, np.arange(100) % 10, np.ones(100, "float32"))
    pairs.add(np.full(10, 9), np.arange(10), np.ones(10, "float32"))
    found = pairs.matrix().tocoo()
    assert found.nnz == 20
    kept = list(zip(found.row, found.col, found.data))
    assert kept[:10] == [(0, n, 1.0) for n in range(10)]  # of the more frequent items
    assert kept[10:] == [(9, n, 2.0) for n in range(10)]


@pytest.mark.parametrize("far", [False, True])
def test_more_events_are_read_than_it_is_fitted_to_where_that_is_better(far):
    """What somebody buys again stands a hundred events back, or among the last ones as well."""
    size, users, length = 30, 20, 120
    random = np.random.default_rng(0)
    own = random.integers(5, size, users)
    items = random.integers(0, 5, (users, length))
    items[:, :10] = own[:, None]
    if not far:
        items[:, -20:] = own[:, None]
    starts, stops = np.arange(users) * length, np.arange(1, users + 1) * length
    flat, asked = 4 + items.ravel(), np.arange(users * length).reshape(users, length)[:, 1:].ravel()
    rows = Rows(
        flat, np.repeat(starts, length - 1), asked, np.arange(len(asked) + 1), flat[asked] - 4
    )
    regression = SparseRegression(Bag(), size, size, np.bincount(flat - 4, minlength=size))
    regression.add(rows)

    def quality(part):
        scores = part.scores(flat, starts, stops).all()[:, 5:]
        return 1.0 * (scores.argmax(axis=1) == own - 5)

    shares = rows.shares(size)
    found = best_penalty(regression, quality, shares, 100.0)
    assert quality(found).mean() > 0.9 and found.bag.events == (LONGEST if far else EVENTS)
    assert found.chosen.get("events") == (LONGEST if far else None)
    again = regression.solve(found.chosen["penalty"]).as_chosen(
        found.chosen, np.arange(size), shares
    )
    assert again.bag == found.bag and again.chosen == found.chosen
