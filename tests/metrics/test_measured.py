"""Intervals over test users: they cover, keep a user's rows together and shrink with users."""

import pickle

import numpy as np
import pytest

from keras_peterrec.metrics.measured import Measured, sampled_means
from keras_peterrec.tasks.task_kind import Metric

HIT = Metric("hr@10", higher_is_better=True)


def of_rows(values, owners):
    return Measured({"hr@10": float(np.mean(values))}, {"hr@10": values}, owners)


def test_an_interval_holds_the_metric_and_is_as_wide_as_its_standard_error():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = of_rows(values, np.arange(400)).intervals()["hr@10"]
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2.0 / np.sqrt(400), rel=0.15)


def test_the_intervals_cover_the_truth_as_often_as_they_say():
    generator, covered = np.random.default_rng(1), 0
    for _ in range(60):
        values = generator.random(100)
        low, high = of_rows(values, np.arange(100)).intervals(level=0.8)["hr@10"]
        covered += low < 0.5 < high
    assert 36 <= covered <= 58  # 48 expected; three standard deviations are 9.3


def test_rows_of_one_user_count_as_one_observation():
    values = np.repeat(np.random.default_rng(2).random(50), 20)
    apart = of_rows(values, np.arange(1_000)).intervals()["hr@10"]
    together = of_rows(values, np.repeat(np.arange(50), 20)).intervals()["hr@10"]
    assert np.diff(together)[0] == pytest.approx(np.sqrt(20) * np.diff(apart)[0], rel=0.2)


def test_users_with_more_rows_weigh_more_as_in_the_metric():
    owners = np.array([0] * 9 + [1])
    values = np.array([1.0] * 9 + [0.0])
    sums, counts = of_rows(values, owners).users()
    assert sums["hr@10"].tolist() == [9, 0] and counts.tolist() == [9, 1]
    means = sampled_means(sums, counts, np.random.default_rng(0))["hr@10"]
    assert set(np.round(means, 6)) == {0.0, 0.9, 1.0}  # the second twice, both, the first twice


def test_metrics_that_are_no_means_are_computed_again():
    outputs = np.random.default_rng(3).random(300)
    again = lambda rows: {"median": float(np.median(outputs[rows]))}
    found = Measured(again(np.arange(300)), {"loss": outputs}, np.arange(300), again)
    low, high = found.intervals()["median"]
    assert low < found["median"] < high and high - low < 0.2


def test_another_process_is_sent_the_metrics_alone():
    again = lambda rows: {"median": 0.0}
    sent = pickle.loads(pickle.dumps(Measured({"median": 1.0}, {}, np.arange(9), again)))
    assert type(sent) is dict and sent == {"median": 1.0}


def test_the_same_seed_gives_the_same_interval():
    measured = of_rows(np.random.default_rng(4).random(50), np.arange(50))
    assert measured.intervals(seed=1) == measured.intervals(seed=1) != measured.intervals(seed=2)


def test_a_gain_counts_users_and_not_their_rows():
    random, owners = np.random.default_rng(5), np.repeat(np.arange(40), 10)
    old = random.random(400)
    gains = np.repeat(random.normal(0.1, 0.3, 40), 10)
    one, other = of_rows(old + gains, owners), of_rows(old, owners)
    gain, error = one.gain_over(other, HIT)
    assert gain == pytest.approx(gains.mean())
    assert error == pytest.approx(gains[::10].std() / np.sqrt(40))
    lower, same = one.gain_over(other, Metric("hr@10", higher_is_better=False))
    assert (lower, same) == pytest.approx((-gain, error))


def test_the_error_of_a_gain_is_how_far_it_varies_over_samples_of_users():
    random, rows = np.random.default_rng(6), np.random.default_rng(7).integers(1, 9, 300)
    owners = np.repeat(np.arange(300), rows)
    gains = np.repeat(random.normal(0, 1, 300), rows) + random.normal(0, 1, rows.sum())
    gain, error = of_rows(gains, owners).gain_over(of_rows(0 * gains, owners), HIT)
    drawn = sampled_means({"gain": np.bincount(owners, gains)}, rows, random)["gain"]
    assert gain == pytest.approx(gains.mean()) and error == pytest.approx(drawn.std(), rel=0.1)
