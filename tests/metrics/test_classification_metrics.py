"""Accuracy, macro-F1, log-loss and AUC."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import classification_metrics


def random_problem(seed, classes, rows):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), rows)
    return probabilities, generator.integers(0, classes, rows)


def brute_force_auc(scores, labels):
    wins = [
        1.0 if positive > negative else 0.5 if positive == negative else 0.0
        for positive in scores[labels == 1]
        for negative in scores[labels == 0]
    ]
    return np.mean(wins)


def test_values_worked_out_by_hand():
    probabilities = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3]]
    metrics = classification_metrics(probabilities, [0, 1, 1, 1], classes=3)
    # Class 0: one right, one predicted wrongly; class 1: two of three; class 2: none.
    assert metrics == {
        "accuracy": 0.75,
        "macro_f1": pytest.approx((2 / 3 + 4 / 5 + 0) / 3),
        "log_loss": pytest.approx(-np.log([0.7, 0.6, 0.3, 0.5]).mean()),
    }
    assert all(type(value) is float for value in metrics.values())


def test_ties_count_against_accuracy_and_half_in_auc():
    metrics = classification_metrics(np.full((4, 2), 0.5), [0, 1, 1, 0], classes=2)
    assert metrics["accuracy"] == 0 and metrics["macro_f1"] == 0 and metrics["auc"] == 0.5


def test_log_loss_is_clipped():
    certain = classification_metrics([[1.0, 0.0], [0.0, 1.0]], [1, 0], classes=2)
    assert certain["log_loss"] == pytest.approx(-np.log(1e-7))
    right = classification_metrics([[1.0, 0.0], [0.0, 1.0]], [0, 1], classes=2)
    assert right["log_loss"] == pytest.approx(1e-7) and right["auc"] == 1


def test_auc_needs_two_classes_and_both_of_them():
    assert "auc" not in classification_metrics([[0.2, 0.8]], [1], classes=2)
    assert "auc" not in classification_metrics([[0.2, 0.8, 0.0]], [1], classes=3)


def test_a_nan_never_helps():
    good = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    labels = np.array([0, 1, 0])
    before = classification_metrics(good, labels, classes=2)
    for row in range(3):
        broken = good.copy()
        broken[row] = np.nan
        after = classification_metrics(broken, labels, classes=2)
        assert after["log_loss"] > before["log_loss"]
        for name in ("accuracy", "macro_f1", "auc"):
            assert after[name] < before[name]
    half_broken = classification_metrics([[0.9, np.nan], [0.2, 0.8]], [0, 1], classes=2)
    assert half_broken["accuracy"] == 0.5


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_auc_is_the_share_of_pairs_won(seed, rows):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 5, rows) / 4  # many ties
    labels = np.append(generator.integers(0, 2, rows - 2), [0, 1])
    probabilities = np.stack([1 - scores, scores], axis=1)
    ours = classification_metrics(probabilities, labels, classes=2)["auc"]
    assert ours == pytest.approx(brute_force_auc(scores, labels))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("classes", "rows"), [(2, 100), (5, 60), (12, 9)])
def test_scikit_learn_agrees(seed, classes, rows):
    oracle = pytest.importorskip("sklearn.metrics")
    probabilities, labels = random_problem(seed, classes, rows)
    ours = classification_metrics(probabilities, labels, classes)
    predicted, names = probabilities.argmax(axis=1), range(classes)
    expected = {
        "accuracy": oracle.accuracy_score(labels, predicted),
        "macro_f1": oracle.f1_score(
            labels, predicted, labels=names, average="macro", zero_division=0
        ),
        "log_loss": oracle.log_loss(labels, probabilities, labels=names),
    }
    if classes == 2:
        expected["auc"] = oracle.roc_auc_score(labels, probabilities[:, 1])
    assert ours == {name: pytest.approx(value) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("probabilities", "labels", "classes", "message"),
    [
        ([[0.5, 0.5]], [0], 1, "`classes` should be an integer of at least 2"),
        ([[0.5, 0.5]], [2], 2, "`labels` should be integers from 0 to 1. Received: 2"),
        ([[0.5, 0.5]], [0.0], 2, "`labels` should be a one-dimensional array of integers"),
        ([[0.5, 0.5]], [0, 1], 2, "`labels` should have one label for each row"),
        (np.ones((0, 2)), [], 2, "`labels` should have one label for each row"),
        ([[0.5, 0.5]], [0], 3, "`probabilities` should have one column for each of 3"),
        ([0.5, 0.5], [0], 2, "`probabilities` should be a matrix"),
        (
            [[2.0, -1.0]],
            [0],
            2,
            "`probabilities` should be rows of non-negative numbers",
        ),
        ([[3.0, 1.0]], [0], 2, "not logits"),
    ],
)
def test_mistakes_end_in_one_line(probabilities, labels, classes, message):
    with pytest.raises(InputError) as error:
        classification_metrics(probabilities, labels, classes)
    assert message in str(error.value) and "\n" not in str(error.value)
