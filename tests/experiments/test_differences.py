"""Differences of rows on the same test users, and how sure they are."""

import csv

import numpy as np
import pytest
from slow_cases import slow

from keras_peterrec.experiments.differences import (
    COLUMNS,
    compare_runs,
    markdown,
    paired_differences,
    reference_row,
    write_differences,
)
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.report.kept_rows import UserSums, write_test_users
from keras_peterrec.settings.plans import PLANS, Plan, Row
from keras_peterrec.tasks.task_kind import Metric

METRIC = Metric("ndcg@10", higher_is_better=True)
RMSE = Metric("rmse", higher_is_better=False, root_of="squared_error")


def sums(values, rows=None, first=0):
    values = np.asarray(values, "float64")
    ids = np.array([f"u{n:05d}" for n in range(first, first + len(values))])
    rows = np.ones(len(values), int) if rows is None else np.asarray(rows)
    return UserSums(ids, rows, values)


def test_equal_runs_differ_by_nothing():
    values = np.random.default_rng(0).random(50)
    users = {(row, "films", seed): sums(values) for row in "ab" for seed in range(2)}
    cells = paired_differences(users, "a", METRIC)
    assert [(cell["row"], cell["task"], cell["seeds"]) for cell in cells] == [
        *(("b", "films", 2), ("b", "mean", 2))
    ]
    for cell in cells:
        assert cell["difference"] == cell["low"] == cell["high"] == 0.0


def test_differences_are_those_of_the_metrics():
    """Users count by their rows, and a root is taken of means, not of each user's part."""
    rows = [3, 1, 2]
    users = {("a", "t", 0): sums([3, 1, 4], rows), ("b", "t", 0): sums([12, 4, 8], rows)}
    [cell, _] = paired_differences(users, "a", METRIC)
    assert cell["difference"] == pytest.approx(24 / 6 - 8 / 6)
    [cell, _] = paired_differences(users, "a", RMSE)
    assert cell["difference"] == pytest.approx(np.sqrt(24 / 6) - np.sqrt(8 / 6))
    assert cell["low"] <= cell["difference"] <= cell["high"]
    # Means over seeds.
    users |= {("a", "t", 1): sums([1, 1]), ("b", "t", 1): sums([0, 0])}
    [cell, _] = paired_differences(users, "a", METRIC)
    assert cell["difference"] == pytest.approx((16 / 6 - 1) / 2) and cell["seeds"] == 2


def test_pairs_are_surer_than_two_intervals():
    random = np.random.default_rng(0)
    hard = random.normal(0, 1, 400)  # users differ much, the rows little
    easier = hard + 0.1 + random.normal(0, 0.2, 400)
    users = {("a", "t", 0): sums(hard), ("b", "t", 0): sums(easier)}
    [cell, _] = paired_differences(users, "a", METRIC)
    assert cell["high"] - cell["low"] == pytest.approx(2 * 1.96 * 0.2 / 20, rel=0.15)
    assert cell["low"] > 0


@pytest.mark.parametrize("metric", [METRIC, *slow(RMSE)], ids=lambda metric: metric.name)
def test_intervals_cover_the_truth(metric):
    """Of many simulated experiments with three seeds, some 95 % hold the true difference."""
    truth, covered, times = metric.of_means(2.5) - metric.of_means(2.0), 0, 60
    random = np.random.default_rng(1)
    for _ in range(times):
        users = {}
        for seed in range(3):
            shared = random.exponential(1.0, 150)
            users["a", "t", seed] = sums(shared + random.exponential(1.0, 150))
            users["b", "t", seed] = sums(shared + random.exponential(1.5, 150))
        [cell, _] = paired_differences(users, "a", metric)
        covered += cell["low"] < truth < cell["high"]
    assert 52 <= covered <= 60  # 57 expected; three standard deviations are 5.1


def test_the_mean_of_tasks_draws_each_user_once():
    """Two tasks with the same users say no more of them than one."""
    random = np.random.default_rng(2)
    one, other = random.random(200), random.random(200)
    users = {}
    for task in ("t1", "t2"):
        users |= {("a", task, 0): sums(one), ("b", task, 0): sums(other)}
    same = {cell["task"]: cell for cell in paired_differences(users, "a", METRIC)}
    assert same["mean"]["low"] == pytest.approx(same["t1"]["low"])
    # Other users say more.
    users["a", "t2", 0] = sums(random.random(200), first=200)
    users["b", "t2", 0] = sums(random.random(200), first=200)
    apart = {cell["task"]: cell for cell in paired_differences(users, "a", METRIC)}
    width = lambda cell: cell["high"] - cell["low"]
    assert width(apart["mean"]) == pytest.approx(width(apart["t1"]) / np.sqrt(2), rel=0.2)


def test_rows_with_other_test_users_are_left_out():
    random = np.random.default_rng(3)
    users = {("a", task, 0): sums(random.random(30)) for task in ("t1", "t2")}
    users["b", "t1", 0] = sums(random.random(30))
    users["b", "t2", 0] = sums(random.random(30), first=1)  # other users
    users["c", "t1", 0] = sums(random.random(30), rows=[2] * 30)  # other rows
    users["d", "t1", 1] = sums(random.random(30))  # a seed that the reference does not have
    cells = paired_differences(users, "a", METRIC)
    # And no mean over other tasks than the reference's.
    assert [(cell["row"], cell["task"]) for cell in cells] == [("b", "t1")]


def test_the_reference_is_the_default_patch_or_the_first_row():
    assert {name: reference_row(plan) for name, plan in PLANS.items()} == {
        "pretraining": "PeterRec",
        "strategies": "PeterRec",
        "insertions": PLANS["insertions"].rows[0].label,
        "few-labels": "PeterRec 100%",
        "causal-or-masked": "PeterRec, causal",
        "methods": PLANS["methods"].rows[0].label,
        "baselines": "PeterRec",
    }


def make_run(folder, row, task, kind, part, ridge=None):
    """A run with its file of test users; `ridge` makes a baseline of that name."""
    where = f"runs/{task}/{row}"
    (folder / where).mkdir(parents=True)
    ids = [f"u{n}" for n in range(40)]

    def measured(seed):
        values = np.random.default_rng(seed).random(40)
        return Measured({}, {part: values}, np.arange(40), user_ids=ids)

    baselines = [] if ridge is None else [{"name": "ridge", "test": measured(ridge)}]
    result = {"metrics": {"test": measured(len(row))}, "baselines": baselines}
    write_test_users(folder / where, result, Metric(part, higher_is_better=True))
    return {
        **{"row": row, "task": task, "kind": kind, "seed": 0, "settings": {}, "folder": where},
        "baselines": baselines,
    }


def test_runs_are_read_with_their_baselines_and_written_as_tables(tmp_path):
    plan = Plan("p", "P", (Row("head"), Row("patch", {"method": "patch"})), (), "nothing")
    runs = [
        make_run(tmp_path, "head", "films", "recommendation", "ndcg@10"),
        make_run(tmp_path, "patch", "films", "recommendation", "ndcg@10", ridge=7),
        make_run(tmp_path, "head", "spend", "regression", "squared_error"),
        make_run(tmp_path, "patch", "spend", "regression", "squared_error"),
        make_run(tmp_path, "head", "visits", "regression", "squared_error"),
        make_run(tmp_path, "patch", "visits", "regression", "squared_error"),
    ]
    cells = compare_runs(plan, runs, tmp_path)
    assert [(cell["metric"], cell["row"], cell["task"]) for cell in cells] == [
        *(("ndcg@10", "head", "films"), ("ndcg@10", "head", "mean")),
        *(("ndcg@10", "ridge", "films"), ("ndcg@10", "ridge", "mean")),
        *(("rmse", "head", "spend"), ("rmse", "head", "visits")),  # with units, no mean
    ]
    assert all(cell["reference"] == "patch" for cell in cells)
    write_differences(cells, tmp_path)
    with open(tmp_path / "differences.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == list(COLUMNS) and len(written) == len(cells)
    assert float(written[0]["low"]) == cells[0]["low"]
    text = markdown(cells)
    first = cells[0]
    shown = f"{first['difference']:+.3f} [{first['low']:+.3f}, {first['high']:+.3f}]"
    assert text.startswith("## Differences\n") and f"| head | {shown} | {shown} |" in text
    assert "rmse, difference to patch with its 95 % interval (less is better)" in text
    # Without the files of test users there is nothing to compare.
    for file in tmp_path.rglob("test_users.npz"):
        file.unlink()
    assert compare_runs(plan, runs, tmp_path) == [] and markdown([]) == ""


def test_a_user_who_is_tested_in_several_seeds_is_one_user():
    """Three seeds that test the same users with the same answers say as much as one of them."""
    random = np.random.default_rng(3)
    old, new = random.random(300), random.random(300)
    one = {("a", "t", 0): sums(old), ("b", "t", 0): sums(new)}
    three = {(row, "t", seed): one[row, "t", 0] for row in "ab" for seed in range(3)}
    widths = [
        cell["high"] - cell["low"]
        for users in (one, three)
        for cell in paired_differences(users, "a", METRIC, with_mean=False)[:1]
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    # Other users in each seed tell more.
    apart = {
        (row, "t", seed): sums(random.random(300), first=300 * seed)
        for row in "ab"
        for seed in range(3)
    }
    [cell, *_] = paired_differences(apart, "a", METRIC, with_mean=False)
    assert cell["high"] - cell["low"] < 0.7 * widths[0]
