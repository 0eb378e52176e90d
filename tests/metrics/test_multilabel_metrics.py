"""Metrics of several labels per user, and the shares to compare with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import label_shares, multilabel_metrics


def random_problem(seed, rows=40, labels=8):
    generator = np.random.default_rng(seed)
    truths = (generator.random((rows, labels)) < 0.3).astype(int)
    return generator.random((rows, labels)), truths


def test_values_worked_out_by_hand():
    probabilities = [[0.9, 0.8, 0.1, 0.3], [0.2, 0.6, 0.5, 0.1], [0.5, 0.4, 0.3, 0.2]]
    truths = [[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    metrics = multilabel_metrics(probabilities, truths)
    of_truth = [0.9, 0.2, 0.9, 0.3, 0.8, 0.4, 0.5, 0.9, 0.5, 0.6, 0.7, 0.8]
    assert metrics == {
        # Label 1 is nobody's. Labels 0, 2 and 3 each order their users rightly.
        "macro_auc": pytest.approx(1.0),
        # Above 0.9 no wrong one, above 0.5 two and level with it one, above 0.3 four
        # and level with it one.
        "micro_auc": pytest.approx((9 + 6.5 + 4.5) / 27),
        # Right at places 1 and 3, and at 2; the third user has no label.
        "map": pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2),
        "precision@1": pytest.approx((1 + 0 + 0) / 3),
        "precision@3": pytest.approx((2 / 3 + 1 / 3 + 0) / 3),
        "log_loss": pytest.approx(-np.log(of_truth).mean()),
    }
    assert all(type(value) is float for value in metrics.values())


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_agrees(seed):
    oracle = pytest.importorskip("sklearn.metrics")
    probabilities, truths = random_problem(seed)
    ours = multilabel_metrics(probabilities, truths)
    labelled = truths.any(axis=1)
    best = np.argsort(-probabilities, axis=1)
    expected = {
        "macro_auc": oracle.roc_auc_score(truths, probabilities, average="macro"),
        "micro_auc": oracle.roc_auc_score(truths, probabilities, average="micro"),
        "map": oracle.label_ranking_average_precision_score(
            truths[labelled], probabilities[labelled]
        ),
        "log_loss": np.mean(
            [
                oracle.log_loss(truths[:, label], probabilities[:, label], labels=[0, 1])
                for label in range(truths.shape[1])
            ]
        ),
    }
    for k in (1, 3, 5):
        hits = np.take_along_axis(truths, best[:, :k], axis=1)
        expected[f"precision@{k}"] = hits.mean()
    assert ours == {name: pytest.approx(value) for name, value in expected.items()}
    by_user = [
        oracle.average_precision_score(truth, row)
        for truth, row in zip(truths[labelled], probabilities[labelled])
    ]
    assert ours["map"] == pytest.approx(np.mean(by_user))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ties_count_against_the_model_and_order_does_not_matter(seed):
    probabilities, truths = random_problem(seed, rows=6, labels=7)
    truths[0, 0], truths[1, 0] = 1, 0
    tied = np.clip(np.round(probabilities * 3) / 3, 0.01, 0.99)
    metrics = multilabel_metrics(tied, truths)
    nudged = multilabel_metrics(tied - 1e-3 * truths, truths)  # the true ones a bit lower
    for name in ("map", "precision@1", "precision@3", "precision@5"):
        assert metrics[name] == pytest.approx(nudged[name])
    generator = np.random.default_rng(seed)
    users, labels = generator.permutation(6), generator.permutation(7)
    shuffled = multilabel_metrics(tied[users][:, labels], truths[users][:, labels])
    assert shuffled == pytest.approx(metrics)


def test_a_constant_scores_one_half():
    truths = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0]])
    metrics = multilabel_metrics(np.full((3, 3), 0.4), truths)
    assert metrics["macro_auc"] == metrics["micro_auc"] == 0.5
    # The wrong labels come first.
    assert metrics["precision@1"] == 0
    assert metrics["map"] == pytest.approx(
        np.mean([(1 / 2 + 2 / 3) / 2, 1 / 3, (1 / 2 + 2 / 3) / 2])
    )


def test_what_is_not_defined_is_left_out():
    assert set(multilabel_metrics([[0.2, 0.3]], [[0, 0]])) == {"precision@1", "log_loss"}
    assert set(multilabel_metrics([[0.2, 0.3]], [[1, 1]])) == {"map", "precision@1", "log_loss"}
    assert set(multilabel_metrics([[0.2], [0.3]], [[1], [0]])) == {
        "macro_auc",
        "micro_auc",
        "map",
        "log_loss",
    }
    assert "precision@2" in multilabel_metrics([[0.2, 0.3, 0.4]], [[1, 1, 0]], ks=[2])


def test_log_loss_is_clipped_and_a_nan_never_helps():
    wrong = multilabel_metrics([[1.0, 0.0]], [[0, 1]])
    assert wrong["log_loss"] == pytest.approx(-np.log(1e-7))
    probabilities, truths = random_problem(0)
    before = multilabel_metrics(probabilities, truths)
    probabilities[3] = np.nan
    truths[3, 0] = 1
    after = multilabel_metrics(probabilities, truths)
    assert after["log_loss"] > before["log_loss"]
    for name in ("macro_auc", "micro_auc", "map"):
        assert after[name] < before[name]


def test_shares_of_training_are_the_best_constant():
    _, truths = random_problem(1)
    shares = label_shares(truths, rows=len(truths))
    np.testing.assert_allclose(shares, np.tile(truths.mean(axis=0), (len(truths), 1)))
    metrics = multilabel_metrics(shares, truths)
    assert metrics["macro_auc"] == 0.5
    for change in (0.02, -0.02):
        other = multilabel_metrics(np.clip(shares + change, 0, 1), truths)
        assert metrics["log_loss"] < other["log_loss"]
    assert label_shares(truths, rows=0).shape == (0, 8)


@pytest.mark.parametrize(
    ("probabilities", "truths", "message"),
    [
        ([[0.5, 0.5]], [[1]], "should have one shape. Received: (1, 2) and (1, 1)."),
        ([0.5], [[1]], "`probabilities` should be a matrix"),
        ([[0.5]], [1], "`truths` should be a matrix"),
        (np.ones((0, 2)), np.ones((0, 2)), "`truths` should have at least one row"),
        ([["0.5"]], [[1]], "`probabilities` should be numbers. Received: `probabilities` of dtype"),
        ([[0.5]], [["news"]], "`truths` should be numbers"),
        ([[0.5]], [[2]], "`truths` should be 0 or 1. Received: 2.0."),
        ([[0.5]], [[np.nan]], "`truths` should be 0 or 1. Received: nan."),
        ([[1.5]], [[1]], "`probabilities` should be from 0 to 1 (not logits). Received: 1.5."),
    ],
)
def test_mistakes_end_in_one_line(probabilities, truths, message):
    with pytest.raises(InputError) as error:
        multilabel_metrics(probabilities, truths)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_cutoffs_and_rows_are_checked():
    with pytest.raises(InputError, match="`k` should be a positive integer. Received: `k` = 0."):
        multilabel_metrics([[0.5]], [[1]], ks=[0])
    with pytest.raises(InputError, match="`rows` should be a non-negative integer"):
        label_shares([[1]], rows=-1)
