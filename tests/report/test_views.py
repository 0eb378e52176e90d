"""What a report says of test users, against what we did not write and sums by hand."""

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from keras_peterrec.report import views

LOSS = {"name": "log_loss", "root_of": None}


def of_classes(rows=400, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    scores = generator.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[truth]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return {
        "owners": np.arange(rows),
        "history": generator.integers(0, 300, rows),
        "part": -np.log(probabilities[np.arange(rows), truth]),
        "labels": np.array(["a", "b", "c"][:classes]),
        "class": truth,
        "probabilities": probabilities.astype("float32"),
    }


def test_groups_hold_every_row_once_and_make_the_metric():
    rows = of_classes()
    rows["baselines/majority"] = np.full(400, 1.1)
    found = views.by_history(rows, LOSS, seed=0)["groups"]
    assert sum(group["rows"] for group in found) == 400
    assert {group["group"] for group in found} <= {
        *("0", "1 to 4", "5 to 19", "20 to 49", "50 to 99", "100 to 199", "200 to 499")
    }
    whole = sum(group["rows"] * group["value"] for group in found) / 400
    assert whole == pytest.approx(rows["part"].mean())
    for group in found:
        low, high = group["interval"]
        assert low <= group["value"] <= high
        assert group["baselines"] == {"majority": pytest.approx(1.1)}


def test_history_groups_end_where_they_say():
    rows = {"owners": np.arange(5), "history": np.array([0, 1, 4, 5, 900]), "part": np.ones(5)}
    found = views.by_history(rows, LOSS, seed=0)["groups"]
    assert {g["group"]: g["rows"] for g in found} == {
        **{"0": 1, "1 to 4": 2, "5 to 19": 1},
        "500 and more": 1,
    }


def test_a_root_is_taken_of_the_mean_of_a_group():
    rows = {"owners": np.arange(4), "history": np.zeros(4), "part": np.array([1.0, 9, 4, 2])}
    [group] = views.by_history(rows, {"name": "rmse", "root_of": "squared_error"}, 0)["groups"]
    assert group["value"] == 2.0 and group["interval"][1] <= 3.0


def test_rows_of_one_user_are_one_user():
    rows = {"owners": np.array([7, 7, 3]), "history": np.zeros(3), "part": np.ones(3)}
    [group] = views.by_history(rows, LOSS, seed=0)["groups"]
    assert (group["users"], group["rows"]) == (2, 3)


def test_items_are_cut_into_thirds_of_the_events():
    third = views.popularity_third(np.array([10, 5, 5, 3, 3, 3, 1, 0]))
    assert third.tolist() == [0, 1, 1, 2, 2, 2, 2, 3]
    rows = {
        **{"owners": np.arange(4), "part": np.array([1.0, 0, 0, 0])},
        **{"target": np.array([0, 3, 7, -1]), "counts": np.array([10, 5, 5, 3, 3, 3, 1, 0])},
    }
    found = views.by_popularity(rows, {"name": "ndcg@10", "root_of": None}, 0)["groups"]
    assert [(g["group"].split(" (")[0], g["rows"], g["value"]) for g in found] == [
        *[("the most popular", 1, 1.0), ("the rarest", 1, 0.0)],
        *[("not in training", 1, 0.0), ("unknown to the model, so never found", 1, 0.0)],
    ]


def test_the_difference_to_a_baseline_is_of_the_same_users():
    generator = np.random.default_rng(0)
    hard = generator.normal(size=300) * 5  # which users are hard says nothing of the difference
    rows = {
        "owners": np.arange(300),
        "part": hard + 0.1 + 0.1 * generator.normal(size=300),
        "baselines/popularity": hard,
        "baselines/other": hard + 0.1 + 0.1 * generator.normal(size=300),
    }
    found = views.against_baselines(rows, LOSS, 0)
    low, high = found["popularity"]
    assert 0.05 < low < 0.1 < high < 0.15
    low, high = found["other"]
    assert low < 0 < high
    roots = {"owners": np.arange(2), "part": np.full(2, 9.0), "baselines/mean": np.full(2, 16.0)}
    found = views.against_baselines(roots, {"name": "rmse", "root_of": "squared_error"}, 0)
    assert found == {"mean": [-1.0, -1.0]}
    alone = {"owners": np.zeros(2, int), "part": np.ones(2), "baselines/mean": np.ones(2)}
    assert views.against_baselines(alone, LOSS, 0) == {}


def test_confusion_and_classes_are_those_of_scikit_learn():
    rows = of_classes()
    truth, predicted = rows["class"], rows["probabilities"].argmax(axis=1)
    found = views.confusion(rows)
    assert found["labels"] == ["a", "b", "c"]
    np.testing.assert_array_equal(found["counts"], oracle.confusion_matrix(truth, predicted))
    expected = oracle.classification_report(
        truth, predicted, target_names=["a", "b", "c"], output_dict=True
    )
    for label in views.by_class(rows):
        of = expected[label["label"]]
        assert label["precision"] == pytest.approx(of["precision"])
        assert label["recall"] == pytest.approx(of["recall"])
        assert label["f1"] == pytest.approx(of["f1-score"])
        assert label["users"] == of["support"]


def test_of_many_classes_the_rest_stands_together():
    truth = np.repeat(np.arange(20), np.arange(20, 0, -1))
    rows = {
        "labels": np.array([f"c{n}" for n in range(20)]),
        "class": truth,
        "probabilities": np.eye(20)[truth],
    }
    found = views.confusion(rows)
    assert len(found["labels"]) == 13 and found["labels"][-1] == "others"
    assert np.sum(found["counts"]) == len(truth) == np.trace(found["counts"])


def test_calibration_is_that_of_scikit_learn():
    generator = np.random.default_rng(1)
    probabilities = generator.random(1_000)
    happened = generator.random(1_000) < probabilities**2
    found = views.calibration(probabilities, happened)
    share, said = calibration_curve(happened, probabilities, n_bins=10)
    assert [b["share"] for b in found["bins"]] == pytest.approx(share.tolist())
    assert [b["probability"] for b in found["bins"]] == pytest.approx(said.tolist())
    assert sum(b["count"] for b in found["bins"]) == 1_000
    assert found["error"] > 0.1
    assert views.calibration(probabilities, generator.random(1_000) < probabilities)["error"] < 0.05


def test_precision_recall_is_that_of_scikit_learn_with_ties():
    generator = np.random.default_rng(2)
    has = generator.random(300) < 0.3
    scores = np.round(generator.random(300) + 0.3 * has, 1)
    precision, recall, _ = oracle.precision_recall_curve(has, scores)
    found = views.precision_recall(scores, has)
    np.testing.assert_allclose(found[0][::-1], precision[:-1])
    np.testing.assert_allclose(found[1][::-1], recall[:-1])
    expected = oracle.average_precision_score(has, scores)
    assert views.average_precision(scores, has) == pytest.approx(expected)


def test_two_classes_need_one_curve_and_labels_one_each():
    [(name, _, has)] = views.label_columns(of_classes(classes=2))
    assert name == "b" and has.sum() == (of_classes(classes=2)["class"] == 1).sum()
    labels = {
        "labels": np.array(["x", "y"]),
        "has": np.array([[True, True], [False, True]]),
        "probabilities": np.array([[0.9, 0.8], [0.2, 0.7]]),
    }
    assert [name for name, _, _ in views.label_columns(labels)] == ["y", "x"]
    assert [label["auc"] for label in views.by_label(labels)] == [None, 1.0]


def test_coverage_and_novelty_by_hand():
    rows = {
        "counts": np.array([3, 0, 0, 0]),
        "lists": np.array([[0, 1], [0, 2]]),
        "target": np.array([1, -1]),
    }
    found = views.recommendations(rows)
    assert (found["items_recommended"], found["coverage"]) == (3, 0.75)
    # Of 3 + 4 events, 4 are of the first item and 1 of each other.
    first, other = -np.log2(4 / 7), -np.log2(1 / 7)
    assert found["novelty"]["recommended"] == pytest.approx((first + other) / 2)
    assert found["novelty"]["taken by test users"] == pytest.approx(other)
    assert found["popularity_shares"]["recommended"] == [0.5, 0.0, 0.0, 0.5]


def test_numbers_and_their_groups():
    truth = np.arange(100.0)
    rows = {"owners": np.arange(100), "truth": truth, "value": truth + 2, "part": np.full(100, 4.0)}
    assert views.numbers(rows)["bias"] == 2.0
    rmse = {"name": "rmse", "root_of": "squared_error"}
    found = views.by_truth(rows, rmse, 0)["groups"]
    assert [g["rows"] for g in found] == [20] * 5 and {g["value"] for g in found} == {2.0}
    same = {**rows, "truth": np.zeros(100)}
    assert [g["rows"] for g in views.by_truth(same, rmse, 0)["groups"]] == [100]


def test_without_arrays_nothing_is_said():
    assert views.describe({}, LOSS) == {}
