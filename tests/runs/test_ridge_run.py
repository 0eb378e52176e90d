"""Ridge regression as a run: equal to the closed form, on the split of `transfer`."""

import json

import numpy as np
import pytest

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_labels, load_log
from keras_peterrec.data.splits import TEST, TRAIN, VALIDATION
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import InputError
from keras_peterrec.runs.ridge import fit_ranker, measure, ridge
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.tasks.registry import get_kind

TARGET = {"target": "simulated/target"}
GENDER, TOPICS, SPEND = (
    {"labels": "simulated/users", "column": column, "kind": kind}
    for column, kind in (
        ("gender", "classification"),
        ("topics", "multilabel"),
        ("spend", "regression"),
    )
)
KINDS = {"recommendation": TARGET} | {task["kind"]: task for task in (GENDER, TOPICS, SPEND)}


def make_data(kind):
    log, task = load_log("simulated/source"), KINDS[kind]
    source = Sequences(log, Vocabulary.from_counts(log.item_ids, np.bincount(log.items)))
    if task is TARGET:
        answers = load_log("simulated/target")
    else:
        answers = load_labels("simulated/users", task["column"])
    return get_kind(kind).make_data(source, answers, 60), len(log.item_ids)


def bags(data, part, items):
    """The binary matrix of source items, a column of ones at its end."""
    split = data.splits[part]
    matrix = np.zeros((len(split), items + 1))
    matrix[:, -1] = 1
    for row, (start, stop) in enumerate(zip(split.starts, split.stops)):
        matrix[row, data.source.items[start:stop] - 4] = 1
    return matrix


def truths(data, part):
    """What a linear model is fitted to, `[E, n]`: 1 for a target, a class or a label; numbers."""
    answers = data.splits[part].answers
    if getattr(answers, "ndim", 1) == 2:
        return answers
    y = np.zeros((len(answers), len(data.kind.labels)))
    for row, chosen in enumerate(answers):
        y[row, chosen] = 1
    return y


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_closed_form(kind):
    data, items = make_data(kind)
    ranker = fit_ranker(data, 4 + items, 30.0)
    x, held_out = bags(data, TRAIN, items), bags(data, TEST, items)
    weights = np.linalg.solve(x.T @ x + 30.0 * np.eye(items + 1), x.T @ truths(data, TRAIN))
    split = data.splits[TEST]
    rows = [data.source.items[a:b] for a, b in zip(split.starts, split.stops)]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    scores = ranker.queries(offsets, np.concatenate(rows)) @ ranker.item_table.T
    wanted = held_out @ weights
    np.testing.assert_allclose(scores, wanted, atol=1e-4)
    found, answers = measure(ranker, data, TEST), split.answers
    if kind == "classification":
        accuracy = np.mean(wanted.argmax(axis=1) == answers)
        assert found["accuracy"] == pytest.approx(accuracy)
    elif kind == "multilabel":
        shares = np.clip(wanted, 1e-3, 1 - 1e-3)
        log_loss = -np.mean(np.where(answers == 1, np.log(shares), np.log(1 - shares)))
        assert found["log_loss"] == pytest.approx(log_loss, abs=1e-4)
    elif kind == "regression":  # standardised for the fit, in the column's units when measured
        labels = load_labels("simulated/users", "spend")
        amounts = dict(zip(labels.user_ids, labels.values.astype(float)))
        trained = [amounts[user] for user in data.splits[TRAIN].user_ids]
        predicted = np.mean(trained) + np.std(trained) * wanted[:, 0]
        errors = predicted - np.array([amounts[user] for user in split.user_ids])
        assert found["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
        assert found["mae"] == pytest.approx(np.mean(abs(errors)), rel=1e-5)


@pytest.mark.parametrize(
    "kind, metric",
    [
        ("recommendation", "ndcg@10"),
        ("classification", "log_loss"),
        ("multilabel", "log_loss"),
        ("regression", "rmse"),
    ],
)
def test_penalty_is_the_best_on_validation_users(kind, metric, tmp_path):
    result = ridge("simulated/source", tmp_path / "ridge", **KINDS[kind])
    data, items = make_data(kind)
    found = {
        penalty: measure(fit_ranker(data, 4 + items, penalty), data, VALIDATION)[metric]
        for penalty in result["settings"]["penalties"]
    }
    best = max(found.values()) if metric == "ndcg@10" else min(found.values())
    assert found[result["penalty"]] == best
    assert result["metrics"]["validation"][metric] == pytest.approx(best)


@pytest.mark.parametrize(
    "kind, metric",
    [
        ("recommendation", "ndcg@10"),
        ("classification", "accuracy"),
        ("multilabel", "macro_auc"),
        ("regression", "r2"),
    ],
)
def test_same_users_and_metrics_as_transfer(kind, metric, host_folder, tmp_path, eagerly):
    task, quick = KINDS[kind], {"epochs": 1, "method": "head"}
    ours = ridge("simulated/source", tmp_path / "ridge", **task)
    theirs = transfer(host_folder, "simulated/source", tmp_path / "task", **quick, **task)
    assert ours["baseline"] == theirs["baseline"]
    assert ours["metrics"]["test"].keys() == theirs["metrics"]["test"].keys()
    split = "users_train_validation_test"
    assert ours["data"][split] == theirs["data"][split]
    assert ours["kind"] == theirs["kind"] == kind
    assert ours["metrics"]["test"][metric] > ours["baseline"]["test"][metric]
    assert json.loads((tmp_path / "ridge" / "metrics.json").read_text()) == ours
    before = (tmp_path / "ridge" / "metrics.json").stat().st_mtime_ns
    assert ridge("simulated/source", tmp_path / "ridge", **task) == ours
    assert (tmp_path / "ridge" / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Either `target` or `labels` should be given"),
        ({**TARGET, **GENDER}, "Either `target` or `labels` should be given"),
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
