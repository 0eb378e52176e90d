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
    backbone = SimpleNamespace(causal=causal, blocks=[None] * 8)
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
        ({}, np.full(1_000, 20), "pretrained on more events"),
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
