"""The last item again, its successors, then popularity: against a plain NumPy reference."""

import numpy as np
import pytest
import scipy.sparse
from linear_samples import random_rows

from keras_peterrec.linear import last_item
from keras_peterrec.linear.last_item import LastItemCounts, add_followers, last_items
from keras_peterrec.linear.sparse_regression import Pairs
from keras_peterrec.metrics import full_ranks

ITEMS, TARGETS, QUERIES = 12, 15, 60


def reference_rank(counts, last, target, known):
    """The rank of a target as the docstring says it, item by item."""
    if target < 0:
        return len(counts.counts)

    def key(item):
        is_last = last >= 0 and counts.same[last] == item
        followed = counts.followers[last, item] if last >= 0 else 0
        return is_last, followed, counts.counts[item]

    others = {*range(len(counts.counts))} - {*known} - {target}
    return 1 + sum(key(item) >= key(target) for item in others)


def samples(seed, shared):
    draw = np.random.default_rng(seed)
    followers = draw.integers(0, 4, (ITEMS, TARGETS)) * (draw.random((ITEMS, TARGETS)) < 0.3)
    followers[3] = 0
    same = None
    if shared != "all":
        same = np.full(ITEMS, -1)
        if shared == "some":
            same[[2, 5, 3]] = [4, 0, 9]
    else:
        followers = followers[:, :ITEMS]
    targets = followers.shape[1]
    counts = LastItemCounts(scipy.sparse.csr_matrix(followers), draw.integers(0, 4, targets), same)
    last = draw.integers(-1, ITEMS, QUERIES)
    owners = np.sort(draw.integers(0, QUERIES, 2 * QUERIES))
    asked = draw.integers(-1, targets, 2 * QUERIES)
    lengths = draw.integers(0, 9, QUERIES)
    known = np.concatenate([[0], np.cumsum(lengths)]), draw.integers(-1, targets, lengths.sum())
    return counts, last, owners, asked, known


@pytest.mark.parametrize("shared", ["all", "some", "none"])
@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_those_of_the_rule(seed, shared, monkeypatch):
    monkeypatch.setattr(last_item, "KNOWN", 50)
    counts, last, owners, asked, known = samples(seed, shared)
    expected = [
        reference_rank(counts, last[q], t, known[1][known[0][q] : known[0][q + 1]])
        for q, t in zip(owners, asked)
    ]
    assert counts.ranks(last, owners, asked, *known).tolist() == expected
    # The scores say the same to what ranks by scores.
    nothing = np.zeros((QUERIES, 1), "float32"), np.zeros((len(counts.counts), 1), "float32")
    scores = counts.scores(last)
    by_scores = full_ranks(*nothing, owners, asked, *known, added=lambda rows: scores[rows])
    assert by_scores.tolist() == expected


def test_followers_are_counted_after_the_last_known_item():
    rows = random_rows(3)
    pairs = Pairs(10, 7)
    add_followers(pairs, rows)
    expected = np.zeros((10, 7))
    for row, (start, stop) in enumerate(zip(rows.starts, rows.stops)):
        known = [item - 4 for item in rows.items[start:stop] if item >= 4]
        for target in rows.targets[rows.offsets[row] : rows.offsets[row + 1]]:
            if known:
                expected[known[-1], target] += 1
    assert (pairs.matrix().toarray() == expected).all() and expected.sum() > 10


def test_last_items_are_the_last_known_ones():
    items = np.array([4, 1, 9, 1, 1, 6])
    starts, stops = np.array([0, 0, 0, 3, 5, 6]), np.array([0, 2, 5, 5, 6, 6])
    assert last_items(items, starts, stops).tolist() == [-1, 0, 5, -1, 2, -1]


def test_a_log_without_an_item_to_follow_is_ranked_by_popularity():
    counts = LastItemCounts(scipy.sparse.csr_matrix((2, 3)), [3, 1, 1], [-1, -1])
    known = np.zeros(3, "int64"), np.zeros(0, "int64")
    assert counts.ranks([-1, 0], [0, 1], [1, 0], *known).tolist() == [3, 1]
