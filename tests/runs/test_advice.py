"""A run that does not beat its baselines says so, with a cause that its own numbers show."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_peterrec.runs.advice import advise
from keras_peterrec.tasks.task_kind import Metric

NDCG = Metric("ndcg@10", higher_is_better=True)


def run(own, *baselines, **changes):
    """A task's `metrics.json`, as far as advice reads it."""
    return {
        "command": "transfer",
        "settings": {"method": "patch", "cut_history": True},
        "data": {"users": 1_000, "users_train_validation_test": [700, 100, 200]},
        "metrics": {"test": {"ndcg@10": own}},
        "baselines": [{"name": name, "test": {"ndcg@10": value}} for name, value in baselines],
        "epochs": 40,
        "stopped": "patience",
        **changes,
    }


def host_that(causal=True, window=120, max_length=100):
    backbone = SimpleNamespace(causal=causal, option_to_see_further="--blocks 16")
    return SimpleNamespace(backbone=backbone, window=window, max_length=max_length)


def advice_of(result, lengths=np.full(1_000, 20), host=host_that(), metric=NDCG):
    advise(result, metric, np.asarray(lengths), host)
    return result.get("advice")


def test_a_run_that_is_better_than_its_baselines_needs_none():
    assert advice_of(run(0.2, ("popularity", 0.1), ("ridge", 0.19))) is None


def test_the_best_baseline_is_named(capsys):
    line = advice_of(run(0.2, ("popularity", 0.1), ("ridge", 0.2)))
    assert "ndcg@10 0.2000" in line and "ridge's 0.2000" in line
    assert line in capsys.readouterr().err


def test_lower_is_better_for_a_loss():
    loss = Metric("ndcg@10", higher_is_better=False)
    assert advice_of(run(0.2, ("majority", 0.3)), metric=loss) is None
    assert "majority" in advice_of(run(0.3, ("majority", 0.2)), metric=loss)


@pytest.mark.parametrize(
    ("changes", "lengths", "wanted"),
    [
        ({"stopped": "epochs"}, np.full(1_000, 20), "more than 40"),
        ({}, np.repeat([0, 20], 500), "--no-cut-history"),
        (
            {"data": {"users": 90, "users_train_validation_test": [60, 10, 20]}},
            np.full(1_000, 20),
            "60 training users are few",
        ),
        ({}, np.full(9_000, 20), "--method all"),
        (
            {
                "data": {
                    "users": 1_418,
                    "users_train_validation_test": [1_400, 9, 9],
                    "classes": ["c"] * 700,
                }
            },
            np.full(1_000, 20),
            "2.0 training users a class are few",
        ),
    ],
)
def test_the_cause_that_the_numbers_show_is_named(changes, lengths, wanted):
    assert wanted in advice_of(run(0.1, ("ridge", 0.2), **changes), lengths)


@pytest.mark.parametrize(
    ("command", "host", "wanted"),
    [
        ("transfer", host_that(), "longer than 120 events, so try a host of --blocks 16"),
        ("transfer", host_that(causal=False, window=100), "try a host of --max-length 400"),
        ("pretrain", host_that(), "longer than 100 events, so try --max-length 400"),
        ("pretrain", host_that(max_length=500), "longer than 120 events, so try --blocks 16"),
    ],
)
def test_of_long_histories_what_bounds_the_network_is_named(command, host, wanted):
    """A causal network sees as far as its convolutions, whatever `--max-length` says."""
    result = run(0.1, ("ridge", 0.2), command=command)
    assert wanted in advice_of(result, np.repeat([20, 400], 500), host)


@pytest.mark.parametrize("command", ["transfer", "pretrain"])
def test_where_the_numbers_show_no_cause_nothing_is_advised(command):
    line = advice_of(run(0.1, ("ridge", 0.2), command=command))
    assert line == "ndcg@10 0.1000 on test users is no better than ridge's 0.2000"


COPYING = "last item and successors"


def test_the_best_possible_result_is_said_to_be_that():
    line = advice_of(run(1.0, ("popularity", 0.1), (COPYING, 1.0)))
    assert "1.0000 on test users is the best possible, and so is that of last item" in line
    assert "order of events" not in line and "try" not in line
    assert "the best possible: look" in advice_of(run(0.99999, ("popularity", 0.1)))
    loss = Metric("ndcg@10", higher_is_better=False)
    assert "the best possible" in advice_of(run(1e-5, ("majority", 0.7)), metric=loss)
    # In whatever units, a small error is not none.
    assert advice_of(run(2e-5, ("mean", 1e-4)), metric=loss) is None


def test_a_result_that_is_that_of_copying_the_last_item_is_said_to_be_that():
    for own in (0.3479, 0.3483):
        line = advice_of(run(own, ("popularity", 0.1), (COPYING, 0.3481)))
        assert "is that of copying (last item and successors, 0.3481)" in line
    assert advice_of(run(0.36, (COPYING, 0.3481))) is None
    assert "no better than last item" in advice_of(run(0.33, (COPYING, 0.3481)))


def test_a_classifier_that_is_worse_than_knowing_nothing_is_said_to_be_that():
    loss = Metric("ndcg@10", higher_is_better=False)
    found = run(7.05, ("majority", 7.3), ("uniform", 6.55))
    assert "7.0500 on test users is worse than knowing nothing: the same for every class gives" in (
        advice_of(found, metric=loss)
    )
    assert advice_of(run(6.5, ("majority", 7.3), ("uniform", 6.55)), metric=loss) is None
