"""Popularity, majority class and ridge regression."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import (
    RidgeRanker,
    classification_metrics,
    full_ranks,
    majority_probabilities,
    popularity_table,
    ranking_metrics,
)


def csr_of(matrix):
    rows, columns = np.nonzero(matrix)
    return np.searchsorted(rows, np.arange(len(matrix) + 1)), columns


def random_binary(seed, shape, share=0.2):
    return (np.random.default_rng(seed).random(shape) < share).astype(float)


def dense_ridge_scores(source, target, bags, l2):
    """The normal equations as written, in float64."""
    source, bags = (np.c_[matrix, np.ones(len(matrix))] for matrix in (source, bags))
    gram = source.T @ source + l2 * np.eye(source.shape[1])
    return bags @ np.linalg.inv(gram) @ source.T @ target


def test_popularity_ranks_by_count():
    table = popularity_table([3, 9, 0, 3])
    assert table.shape == (4, 1) and table.dtype == np.float32
    ranks = full_ranks(np.ones((4, 1)), table, np.arange(4), np.arange(4), np.zeros(5, int), [])
    assert ranks.tolist() == [3, 1, 4, 3]


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


@pytest.mark.parametrize("shape", [(30, 10), (30, 29), (30, 30), (12, 40)])
@pytest.mark.parametrize("l2", [0.5, 20])
def test_ridge_equals_the_closed_form_in_both_forms(shape, l2):
    users, size = shape
    source, target = random_binary(1, shape), random_binary(2, (users, 7))
    bags = random_binary(3, (5, size))
    ranker = RidgeRanker(l2).fit(*csr_of(source), size, *csr_of(target), 7)
    queries = ranker.queries(*csr_of(bags))
    assert ranker.item_table.shape == (7, min(users, size + 1))
    assert queries.dtype == ranker.item_table.dtype == np.float32
    expected = dense_ridge_scores(source, target, bags, l2)
    np.testing.assert_allclose(queries @ ranker.item_table.T, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 10), (30, 29), (12, 40)])
def test_ridge_of_a_matrix_equals_the_closed_form(shape):
    """For numbers; and a matrix of 0 and 1 gives the same as lists of items."""
    users, size = shape
    source, bags = random_binary(1, shape), random_binary(3, (5, size))
    numbers = np.random.default_rng(2).normal(size=(users, 3))
    ranker = RidgeRanker(2).fit_matrix(*csr_of(source), size, numbers)
    scores = ranker.queries(*csr_of(bags)) @ ranker.item_table.T
    np.testing.assert_allclose(scores, dense_ridge_scores(source, numbers, bags, 2), atol=1e-5)
    labels = random_binary(4, (users, 7))
    lists = RidgeRanker(2).fit(*csr_of(source), size, *csr_of(labels), 7).item_table
    matrix = RidgeRanker(2).fit_matrix(*csr_of(source), size, labels).item_table
    np.testing.assert_allclose(lists, matrix, atol=1e-6)


def test_scikit_learn_agrees_with_ridge():
    linear_model = pytest.importorskip("sklearn.linear_model")
    source, numbers = random_binary(1, (40, 12)), np.random.default_rng(2).normal(size=(40, 2))
    ones = np.ones((40, 1))
    oracle = linear_model.Ridge(alpha=3.0, fit_intercept=False).fit(np.c_[source, ones], numbers)
    table = RidgeRanker(3.0).fit_matrix(*csr_of(source), 12, numbers).item_table
    np.testing.assert_allclose(table, oracle.coef_, atol=1e-5)


def test_ridge_does_not_depend_on_the_blocks(monkeypatch):
    source, target = random_binary(1, (20, 50)), random_binary(2, (20, 6))
    arguments = (*csr_of(source), 50, *csr_of(target), 6)
    whole = RidgeRanker(1.0).fit(*arguments).item_table
    many = random_binary(3, (200, 5))
    matrix = (*csr_of(many), 5, random_binary(4, (200, 6)))
    whole_matrix = RidgeRanker(1.0).fit_matrix(*matrix).item_table
    monkeypatch.setattr("keras_peterrec.metrics.baselines._BLOCK_VALUES", 20 * 7)
    np.testing.assert_allclose(RidgeRanker(1.0).fit(*arguments).item_table, whole, atol=1e-6)
    blocks = RidgeRanker(1.0).fit_matrix(*matrix).item_table
    np.testing.assert_allclose(blocks, whole_matrix, atol=1e-6)


def test_ridge_reads_bags_as_sets_without_unknown_items():
    once = RidgeRanker(1.0).fit([0, 1, 2], [0, 1], 3, [0, 1, 2], [1, 0], 2)
    often = RidgeRanker(1.0).fit([0, 3, 4], [0, 0, -1, 1], 3, [0, 2, 3], [1, 1, 0], 2)
    np.testing.assert_array_equal(once.item_table, often.item_table)
    np.testing.assert_array_equal(once.queries([0, 1], [2]), once.queries([0, 3], [2, -1, 2]))


def test_an_empty_bag_ranks_by_popularity():
    source, target = random_binary(1, (200, 8)), random_binary(2, (200, 3), [0.1, 0.7, 0.4])
    ranker = RidgeRanker(1.0).fit(*csr_of(source), 8, *csr_of(target), 3)
    ranks = full_ranks(
        ranker.queries([0, 0], []), ranker.item_table, [0, 0, 0], [0, 1, 2], [0, 0], []
    )
    assert ranks.tolist() == [3, 1, 2]


def test_ridge_learns_what_popularity_cannot():
    """One source item tells each user's target item; the others are noise."""
    generator = np.random.default_rng(0)
    wanted = generator.integers(0, 10, 400)
    source = random_binary(5, (400, 30), 0.1)
    source[:, :10] = np.eye(10)[wanted]
    target = np.eye(10)[wanted]
    ranker = RidgeRanker().fit(*csr_of(source[:300]), 30, *csr_of(target[:300]), 10)
    queries = ranker.queries(*csr_of(source[300:]))
    rest = (np.arange(100), wanted[300:], np.zeros(101, int), [])
    ridge = ranking_metrics(full_ranks(queries, ranker.item_table, *rest), ks=[1])
    counts = target[:300].sum(axis=0).astype(int)
    popular = full_ranks(np.ones((100, 1)), popularity_table(counts), *rest)
    assert ridge["hr@1"] > 0.95 and ranking_metrics(popular, ks=[1])["hr@1"] < 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: popularity_table([1, -1]), "`item_counts` should be integers from 0"),
        (lambda: popularity_table([0.5]), "`item_counts` should be a one-dimensional array"),
        (lambda: majority_probabilities([], 2, 3), "`train_labels` should hold at least one"),
        (lambda: majority_probabilities([2], 2, 3), "`train_labels` should be integers from 0"),
        (lambda: majority_probabilities([0], 2, -1), "`rows` should be a non-negative integer"),
        (lambda: RidgeRanker(0), "`l2` should be a positive number. Received: `l2` = 0."),
        (lambda: RidgeRanker("1"), "`l2` should be a positive number. Received: `l2` = '1'."),
        (lambda: RidgeRanker().queries([0], []), "`RidgeRanker` should be fitted"),
        (lambda: RidgeRanker().fit([0], [], 2, [0], [], 2), "at least one user"),
        (lambda: RidgeRanker().fit([0, 1], [2], 2, [0, 0], [], 2), "`source_items` should be"),
        (lambda: RidgeRanker().fit([0, 1], [0], 2, [0], [], 2), "`target_offsets` should be 2"),
        (lambda: RidgeRanker().fit([0, 1], [0], 0, [0], [], 2), "`source_size` should be"),
        (lambda: RidgeRanker().fit_matrix([0, 1], [0], 2, [1.0]), "`targets` should be a matrix"),
        (lambda: RidgeRanker().fit_matrix([0, 1], [0], 2, [[1], [2]]), "should have 1 rows of"),
        (lambda: RidgeRanker().fit_matrix([0, 1], [0], 2, [[np.nan]]), "1 not finite"),
    ],
)
def test_mistakes_end_in_one_line(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value) and "\n" not in str(error.value)
