"""Each test user's part of the deciding metric: what runs write, and what it adds up to."""

import json

import numpy as np
import pytest
from simulated_tasks import GENDER, SPEND, TARGET, TOPICS

from keras_peterrec.log.event_split import PARTS, TEST
from keras_peterrec.log.sources import load_labels
from keras_peterrec.log.user_splits import split_users
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.report.kept_rows import RUN, USERS, read_test_users, write_test_users
from keras_peterrec.runs.linear import linear
from keras_peterrec.runs.next_item import METRIC
from keras_peterrec.task_kinds import get_kind

TASKS = {"shop": TARGET, "gender": GENDER, "topics": TOPICS, "spend": SPEND}
WHERE = ("target", "labels", "column", "kind")


def check(folder, metric, baselines):
    """The users' parts make the metric, of the run and of its baselines."""
    result = json.loads((folder / "metrics.json").read_text())
    found = read_test_users(folder)
    assert found.keys() == {RUN, *baselines}
    tests = {RUN: result["metrics"]["test"], **{b["name"]: b["test"] for b in result["baselines"]}}
    for name, users in found.items():
        assert metric.of_means(users.mean) == pytest.approx(tests[name][metric.name], rel=1e-6)
        assert users.same_users(found[RUN])
    return found[RUN]


@pytest.mark.parametrize("task", TASKS)
def test_parts_of_a_run_make_its_metric(task, tmp_path):
    where = {name: value for name, value in TASKS[task].items() if name in WHERE}
    result = linear("simulated/source", tmp_path / "out", **where)
    baselines = ["popularity", "last item and successors"] if task == "shop" else []
    metric = get_kind(result["kind"]).metric
    users = check(tmp_path / "out", metric, baselines)
    assert len(users.user_ids) == result["data"]["users_train_validation_test"][PARTS.index(TEST)]
    if task == "gender":
        known = load_labels("simulated/users", "gender").user_ids
        assert set(users.user_ids) <= set(known[split_users(known) == TEST])


def test_hosts_and_tasks_write_them(host_folder, task_folder):
    simple = ["popularity", "last item and successors"]
    check(host_folder, METRIC, [*simple, "SLIT", "EASE"])
    check(task_folder, get_kind("recommendation").metric, [*simple, "ridge"])


def test_users_who_add_nothing_are_kept_and_sorted(tmp_path):
    found = Measured({"ndcg@10": 0.5}, {"ndcg@10": [1.0, 0.0]}, [1, 1], user_ids=["b", "a", "c"])
    write_test_users(tmp_path, {"metrics": {"test": found}, "baselines": []}, METRIC)
    users = read_test_users(tmp_path)[RUN]
    assert users.user_ids.tolist() == ["a", "b", "c"] and users.mean == 0.5
    assert (users.rows.tolist(), users.sums.tolist()) == ([2, 0, 0], [1.0, 0.0, 0.0])
    np.load(tmp_path / USERS, allow_pickle=False)["user_ids"]


def test_metrics_of_an_own_kind_may_be_a_plain_dict(tmp_path):
    result = {"metrics": {"test": {"ndcg@10": 0.5}}, "baselines": []}
    write_test_users(tmp_path, result, METRIC)
    assert read_test_users(tmp_path) == {} and not list(tmp_path.iterdir())
