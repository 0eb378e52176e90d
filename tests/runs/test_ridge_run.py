"""Ridge regression as a run: equal to the closed form, on the split of `transfer`."""

import json

import numpy as np
import pytest

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_labels, load_log
from keras_peterrec.data.splits import TEST, TRAIN, VALIDATION
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import InputError
from keras_peterrec.runs.classification import ClassificationData
from keras_peterrec.runs.recommendation import RecommendationData
from keras_peterrec.runs.ridge import fit_ranker, measure, ridge
from keras_peterrec.runs.transfer import transfer

TARGET = {"target": "simulated/target"}
GENDER = {"labels": "simulated/users", "column": "gender"}


def make_data(kind):
    log = load_log("simulated/source")
    source = Sequences(log, Vocabulary.from_counts(log.item_ids, np.bincount(log.items)))
    if kind == "recommend":
        data = RecommendationData(source, load_log("simulated/target"), 60)
    else:
        data = ClassificationData(source, load_labels("simulated/users", "gender"), 60)
    return data, len(log.item_ids)


def bags(data, part, items):
    """The binary matrix of source items, a column of ones at its end."""
    split = data.splits[part]
    matrix = np.zeros((len(split), items + 1))
    matrix[:, -1] = 1
    for row, (start, stop) in enumerate(zip(split.starts, split.stops)):
        matrix[row, data.source.items[start:stop] - 4] = 1
    return matrix


@pytest.mark.parametrize("kind", ["recommend", "classify"])
def test_scores_are_those_of_the_closed_form(kind):
    data, items = make_data(kind)
    ranker = fit_ranker(data, 4 + items, 30.0)
    x, held_out = bags(data, TRAIN, items), bags(data, TEST, items)
    train = data.splits[TRAIN]
    y = np.zeros((len(train), len(data.targets) if kind == "recommend" else 2))
    for row, answers in enumerate(train.answers.reshape(len(train), -1)):
        y[row, answers[answers >= 0]] = 1
    weights = np.linalg.solve(x.T @ x + 30.0 * np.eye(items + 1), x.T @ y)
    split = data.splits[TEST]
    rows = [data.source.items[a:b] for a, b in zip(split.starts, split.stops)]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    scores = ranker.queries(offsets, np.concatenate(rows)) @ ranker.item_table.T
    np.testing.assert_allclose(scores, held_out @ weights, atol=1e-4)
    if kind == "classify":
        accuracy = np.mean((held_out @ weights).argmax(axis=1) == split.answers)
        assert measure(ranker, data, TEST)["accuracy"] == pytest.approx(accuracy)


def test_penalty_is_the_best_on_validation_users(tmp_path):
    result = ridge("simulated/source", tmp_path / "ridge", **TARGET)
    data, items = make_data("recommend")
    found = {
        penalty: measure(fit_ranker(data, 4 + items, penalty), data, VALIDATION)["ndcg@10"]
        for penalty in result["settings"]["penalties"]
    }
    assert found[result["penalty"]] == max(found.values())
    assert result["metrics"]["validation"]["ndcg@10"] == pytest.approx(max(found.values()))


@pytest.mark.parametrize("task", [TARGET, GENDER], ids=["recommend", "classify"])
def test_same_users_and_metrics_as_transfer(task, host_folder, tmp_path):
    ours = ridge("simulated/source", tmp_path / "ridge", **task)
    theirs = transfer(host_folder, "simulated/source", tmp_path / "task", epochs=1, **task)
    assert ours["baseline"] == theirs["baseline"]
    assert ours["metrics"]["test"].keys() == theirs["metrics"]["test"].keys()
    split = "users_train_validation_test"
    assert ours["data"][split] == theirs["data"][split]
    primary = "ndcg@10" if task is TARGET else "accuracy"
    assert ours["metrics"]["test"][primary] > ours["baseline"]["test"][primary]
    assert json.loads((tmp_path / "ridge" / "metrics.json").read_text()) == ours
    before = (tmp_path / "ridge" / "metrics.json").stat().st_mtime_ns
    assert ridge("simulated/source", tmp_path / "ridge", **task) == ours
    assert (tmp_path / "ridge" / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`target` or `labels` should be given, and not both"),
        ({**TARGET, **GENDER}, "`target` or `labels` should be given, and not both"),
        ({**TARGET, "penalties": ()}, "`penalties` should hold at least one"),
        ({**TARGET, "penalties": (-1.0,)}, "`l2` should be a positive number"),
        ({**TARGET, "seed": -1}, "`seed` should be an integer from 0"),
        ({**TARGET, "train_fraction": 2.0}, "`train_fraction` should be above 0"),
    ],
)
def test_bad_settings_are_one_clear_line(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        ridge("simulated/source", tmp_path / "ridge", **arguments)
    assert "\n" not in str(caught.value)
