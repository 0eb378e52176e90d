"""The linear part alone as a run, on the split of `transfer`."""

import json

import numpy as np
import pytest
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.sources import load_labels, load_log
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.runs.linear import linear
from keras_peterrec.task_kinds import get_kind

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


@pytest.mark.parametrize(
    "kind, metric",
    [
        ("recommendation", "ndcg@10"),
        ("classification", "accuracy"),
        ("multilabel", "macro_auc"),
        ("regression", "r2"),
    ],
)
def test_same_users_and_metrics_as_transfer(kind, metric, task_folder, label_folders, tmp_path):
    task = KINDS[kind]
    ours = linear("simulated/source", tmp_path / "linear", **task)
    of_transfer = task_folder if task is TARGET else label_folders[task["column"]]
    theirs = json.loads((of_transfer / "metrics.json").read_text())
    assert ours["baseline"] == theirs["baseline"]
    assert ours["metrics"]["test"].keys() == theirs["metrics"]["test"].keys()
    split = "users_train_validation_test"
    assert ours["data"][split] == theirs["data"][split]
    assert ours["kind"] == theirs["kind"] == kind
    assert ours["metrics"]["test"][metric] > ours["baseline"]["test"][metric]
    # `transfer` measures the same as a baseline; only the items that it knows may differ.
    beside = theirs["baselines"][-1]
    assert beside["test"][metric] == pytest.approx(ours["metrics"]["test"][metric], abs=0.05)
    assert json.loads((tmp_path / "linear" / "metrics.json").read_text()) == ours
    before = (tmp_path / "linear" / "metrics.json").stat().st_mtime_ns
    assert linear("simulated/source", tmp_path / "linear", **task) == ours
    assert (tmp_path / "linear" / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "kind", ["recommendation", "regression", *slow("classification", "multilabel")]
)
def test_what_is_measured_are_the_scores_of_the_bag(kind, tmp_path):
    result = linear("simulated/source", tmp_path / "linear", **KINDS[kind])
    log, task = load_log("simulated/source"), KINDS[kind]
    source = log.encode(Vocabulary.from_counts(log.item_ids, np.bincount(log.items)))
    answers = load_log("simulated/target")
    if task is not TARGET:
        answers = load_labels("simulated/users", task["column"])
    data = get_kind(kind).make_data(source, answers, 60)
    again = data.measure_linear(data.fit_linear(len(log.item_ids)), TEST, sampled=True)
    assert result["metrics"]["test"] == pytest.approx(again, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Either `target` or `labels` should be given"),
        ({**TARGET, **GENDER}, "Either `target` or `labels` should be given"),
        ({**TARGET, "seed": -1}, "`seed` should be an integer from 0"),
        ({**TARGET, "train_fraction": 2.0}, "`train_fraction` should be above 0"),
    ],
)
def test_bad_settings_are_one_clear_line(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        linear("simulated/source", tmp_path / "linear", **arguments)
    assert "\n" not in str(caught.value)
