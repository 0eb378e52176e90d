"""Popularity and the majority class."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import (
    classification_metrics,
    full_ranks,
    majority_probabilities,
    own_items_ranks,
    popularity_ranks,
    popularity_table,
)


def test_popularity_ranks_by_count():
    table = popularity_table([3, 9, 0, 3])
    assert table.shape == (4, 1) and table.dtype == np.float32
    ranks = full_ranks(np.ones((4, 1)), table, np.arange(4), np.arange(4), np.zeros(5, int), [])
    assert ranks.tolist() == [3, 1, 4, 3]


@pytest.mark.parametrize("seed", range(3))
def test_own_items_come_first_by_frequency_and_then_what_is_popular(seed):
    random = np.random.default_rng(seed)
    size, users = 9, 12
    lengths = random.integers(0, 7, users)
    offsets = np.append(0, np.cumsum(lengths))
    items = random.integers(-1, size, offsets[-1])
    counts, targets = random.integers(0, 4, size), random.integers(-1, size, users)
    ranks = own_items_ranks(items, offsets[:-1], offsets[1:], targets, counts)
    for user, target in enumerate(targets):
        history = items[offsets[user] : offsets[user + 1]].tolist()
        own = {item for item in history if item >= 0}
        last = {item: place for place, item in enumerate(history)}
        by = lambda item: (-history.count(item), -counts[item], -last[item])
        order = sorted(own, key=by)
        others = [item for item in range(size) if item not in own]
        if target in own:
            assert ranks[user] == 1 + order.index(target)
        elif target >= 0:
            as_popular = [item for item in others if counts[item] >= counts[target]]
            assert ranks[user] == len(own) + len(as_popular)
        else:
            assert ranks[user] == size


def test_own_items_of_empty_histories_are_popularity():
    nothing = np.zeros(2, int)
    ranks = own_items_ranks(np.zeros(0, int), nothing, nothing, np.array([0, 1]), [3, 9])
    assert ranks.tolist() == [2, 1]


def test_majority_class_scores_its_share_and_the_entropy():
    labels = np.array([0, 2, 2, 2])
    probabilities = majority_probabilities(labels, classes=3, rows=4)
    assert probabilities.tolist() == [[0.25, 0.0, 0.75]] * 4
    metrics = classification_metrics(probabilities, labels, classes=3)
    assert metrics["accuracy"] == 0.75
    assert metrics["log_loss"] == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))


def test_majority_class_has_an_auc_of_one_half():
    probabilities = majority_probabilities([0, 0, 1], classes=2, rows=5)
    assert classification_metrics(probabilities, [0, 1, 0, 1, 1], classes=2)["auc"] == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: popularity_table([1, -1]), "`item_counts` should be integers from 0"),
        (lambda: popularity_table([0.5]), "`item_counts` should be a one-dimensional array"),
        (lambda: majority_probabilities([], 2, 3), "`train_labels` should hold at least one"),
        (lambda: majority_probabilities([2], 2, 3), "`train_labels` should be integers from 0"),
        (lambda: majority_probabilities([0], 2, -1), "`rows` should be a non-negative integer"),
    ],
)
def test_mistakes_end_in_one_line(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(5))
def test_ranks_by_popularity_are_those_of_full_ranking(seed):
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, 4, 30)  # many ties
    targets, lengths = draw.integers(-1, 30, 50), draw.integers(0, 9, 50)
    known = np.concatenate([[0], np.cumsum(lengths)]), draw.integers(-1, 30, lengths.sum())
    pairs = np.arange(50), targets
    expected = full_ranks(np.ones((50, 1)), popularity_table(counts), *pairs, *known)
    assert popularity_ranks(counts, targets, *known).tolist() == expected.tolist()
