"""RMSE, MAE and R²."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import regression_metrics

numbers = arrays(
    np.float64,
    st.shared(st.integers(1, 20)),
    elements=st.integers(-(10**6), 10**6).map(lambda number: number / 7),
)


def test_values_worked_out_by_hand():
    metrics = regression_metrics([1, 2, 6], [1, 2, 3])
    assert metrics == {
        "rmse": pytest.approx(np.sqrt(3)),
        "mae": pytest.approx(1),
        "r2": pytest.approx(1 - 9 / 2),
    }
    assert all(type(value) is float for value in metrics.values())


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_agrees(seed):
    oracle = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    truths = generator.normal(3, 2, 50)
    predictions = truths + generator.normal(0, seed, 50)
    assert regression_metrics(predictions, truths) == {
        "rmse": pytest.approx(oracle.root_mean_squared_error(truths, predictions)),
        "mae": pytest.approx(oracle.mean_absolute_error(truths, predictions)),
        "r2": pytest.approx(oracle.r2_score(truths, predictions)),
    }


@settings(deadline=None)
@given(numbers, numbers)
def test_metrics_are_finite_and_ordered(predictions, truths):
    metrics = regression_metrics(predictions, truths)
    assert np.isfinite([*metrics.values()]).all()
    assert 0 <= metrics["mae"] <= metrics["rmse"] * (1 + 1e-9)
    assert metrics["r2"] <= 1
    perfect = regression_metrics(truths, truths)
    assert perfect["rmse"] == perfect["mae"] == 0 and perfect["r2"] in (0, 1)


@settings(deadline=None)
@given(numbers)
def test_the_mean_explains_nothing(truths):
    mean = np.full(len(truths), truths.mean())
    assert regression_metrics(mean, truths)["r2"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("truths", [[7.0], [0.1] * 10, [0.0, 1e-200]])
def test_r2_is_0_where_the_truths_do_not_vary(truths):
    for shift in (0, 1):
        assert regression_metrics(np.array(truths) + shift, truths)["r2"] == 0


@pytest.mark.parametrize(
    ("predictions", "truths", "message"),
    [
        ([1.0, 2.0], [1.0], "should have one length of at least 1. Received: 2 and 1."),
        ([], [], "should have one length of at least 1. Received: 0 and 0."),
        ([[1.0]], [1.0], "`predictions` should be one-dimensional. Received: `predictions` of"),
        ([1.0], ["a"], "`truths` should be numbers. Received: "),
        ([1.0], [None, 2], "`truths` should be"),
        ([1.0, np.nan], [1.0, 2.0], "`predictions` should be finite numbers. Received: nan at"),
        ([1.0, 2.0], [1.0, np.inf], "finite numbers. Received: inf at position 1."),
    ],
)
def test_mistakes_end_in_one_line(predictions, truths, message):
    with pytest.raises(InputError) as error:
        regression_metrics(predictions, truths)
    assert message in str(error.value) and "\n" not in str(error.value)
