"""Tables: mean and sample standard deviation, baselines first, mean over tasks."""

import csv

import numpy as np
import pytest

from keras_peterrec.experiments.tables import MEAN, format_cell, summarise, write_tables

# kind -> baselines, what the tables show
KINDS = {
    "recommendation": (("popularity", "ridge"), ("ndcg@10", "hr@10")),
    "classification": (("majority", "logistic regression"), ("log_loss", "accuracy")),
    "multilabel": (("prior", "logistic regression"), ("log_loss", "macro_auc", "map")),
    "regression": (("mean", "ridge"), ("rmse", "mae", "r2")),
}
OF_TASK = {"gender": "classification", "topics": "multilabel", "spend": "regression"}
RANDOM = np.random.default_rng(0)


def make_run(row, task, seed, fraction=1.0):
    kind = OF_TASK.get(task, "recommendation")
    baselines, metrics = KINDS[kind]
    values = [{name: float(RANDOM.random()) for name in metrics} for _ in range(3)]
    return {
        "row": row,
        "task": task,
        "kind": kind,
        "seed": seed,
        "settings": {"train_fraction": fraction},
        "trainable": 1000,
        "seconds": 2.0,
        "test": values[0],
        "baselines": [{"name": name, "test": test} for name, test in zip(baselines, values[1:])],
    }


@pytest.fixture(scope="module")
def runs():
    return [
        make_run(row, task, seed)
        for seed in range(3)
        for row in ("one", "two")
        for task in ("action", "scifi", "gender", "topics", "spend")
    ]


def find(cells, metric, row, task):
    [cell] = [c for c in cells if (c["metric"], c["row"], c["task"]) == (metric, row, task)]
    return cell


def test_cells_are_what_numpy_says(runs):
    cells = summarise(runs)
    values = {
        task: [r["test"]["ndcg@10"] for r in runs if (r["row"], r["task"]) == ("two", task)]
        for task in ("action", "scifi")
    }
    for task, of_task in values.items():
        cell = find(cells, "ndcg@10", "two", task)
        assert cell["mean"] == pytest.approx(np.mean(of_task))
        assert cell["sd"] == pytest.approx(np.std(of_task, ddof=1))
    # The spread of the mean is that of the seeds' means, not the mean of the spreads.
    means = np.mean([values["action"], values["scifi"]], axis=0)
    cell = find(cells, "ndcg@10", "two", MEAN)
    assert (cell["mean"], cell["sd"]) == pytest.approx((means.mean(), means.std(ddof=1)))


def test_baselines_are_the_first_rows_of_every_metric(runs):
    cells = summarise(runs)
    rows = {}
    for cell in cells:
        rows.setdefault((cell["kind"], cell["metric"]), {})[cell["row"]] = None
    assert {key: tuple(found)[:2] for key, found in rows.items()} == {
        (kind, metric): baselines
        for kind, (baselines, metrics) in KINDS.items()
        for metric in metrics
    }
    chosen = [r for r in runs if (r["row"], r["task"]) == ("one", "gender")]
    for place, name in enumerate(KINDS["classification"][0]):
        expected = np.mean([r["baselines"][place]["test"]["accuracy"] for r in chosen])
        assert find(cells, "accuracy", name, "gender")["mean"] == pytest.approx(expected)


def test_baselines_are_those_of_all_training_users():
    few, all_ = make_run("few", "action", 0, 0.01), make_run("all", "action", 0)
    cell = find(summarise([few, all_]), "ndcg@10", "popularity", "action")
    assert cell["mean"] == all_["baselines"][0]["test"]["ndcg@10"]


def test_a_baseline_is_read_from_a_run_that_has_it():
    """Not all runs measure the linear part alone: a network of several tasks does not."""
    without, beside = make_run("MTL", "action", 0), make_run("patch", "action", 0)
    del without["baselines"][1]
    cells = summarise([without, beside])
    for place, (name, run) in enumerate({"popularity": without, "ridge": beside}.items()):
        expected = run["baselines"][place]["test"]["ndcg@10"]
        assert find(cells, "ndcg@10", name, "action")["mean"] == expected


def test_one_seed_has_no_spread_and_missing_runs_leave_a_gap(runs, tmp_path):
    chosen = [r for r in runs if r["seed"] == 0 and (r["row"], r["task"]) != ("two", "scifi")]
    cells = summarise(chosen)
    cell = find(cells, "ndcg@10", "one", "action")
    assert cell["sd"] is None and format_cell(cell) == f"{cell['mean']:.3f}"
    # A mean over other tasks than the rows beside it would mislead.
    assert not [c for c in cells if (c["metric"], c["row"], c["task"]) == ("ndcg@10", "two", MEAN)]
    write_tables(cells, tmp_path, "Title", ["what to know"])
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("# Title\n\nwhat to know\n\n| ndcg@10 | action | scifi | mean |")


def test_a_metric_that_a_task_does_not_have_is_a_gap():
    """Where all test users have the same labels, there is no AUC."""
    with_auc, without = make_run("one", "topics", 0), make_run("two", "topics", 0)
    del without["test"]["macro_auc"]
    cells = summarise([with_auc, without])
    assert find(cells, "macro_auc", "one", "topics")["mean"] == with_auc["test"]["macro_auc"]
    assert find(cells, "map", "two", "topics")["mean"] == without["test"]["map"]
    assert not [c for c in cells if (c["metric"], c["row"]) == ("macro_auc", "two")]


def test_written_numbers_are_the_cells(runs, tmp_path):
    cells = summarise(runs)
    write_tables(cells, tmp_path, "Title", ["what to know"], below="at the end")
    text = (tmp_path / "table.md").read_text()
    assert text.endswith("\n\nat the end\n")
    for cell in cells:
        assert f"{cell['mean']:.3f} ± {cell['sd']:.3f}" in text
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["mean"]) for row in rows] == [cell["mean"] for cell in cells]
    assert [float(row["sd"]) for row in rows] == [cell["sd"] for cell in cells]
