"""SampledSoftmax: an estimate of the full softmax from the promised law."""

import math

import keras
import numpy as np
import pytest

import numpy_reference as reference
from keras_peterrec.layers.sampled_softmax import SampledSoftmax

ITEMS = 30


@pytest.fixture
def example():
    rng = np.random.default_rng(3)
    states = rng.normal(size=(6, 4)).astype("float32")
    table = rng.normal(size=(ITEMS, 4)).astype("float32")
    return states, np.array([0, 1, 2, 7, 15, 29]), table


def losses_of(states, targets, table, negatives, seed=0):
    layer = SampledSoftmax(len(table), negatives, seed)
    return keras.ops.convert_to_numpy(layer(states, targets, table))


def test_is_the_formula_for_the_negatives_drawn(example, monkeypatch):
    states, targets, table = example
    drawn = np.array([3, 0, 0, 7, 29, 12, 7])
    # The law's distribution function, turned round, at the middle of each item.
    uniform = np.log(drawn + 1.5) / math.log(ITEMS + 1)
    monkeypatch.setattr(
        keras.random, "uniform", lambda shape, **_: keras.ops.convert_to_tensor(uniform, "float32")
    )
    expected = reference.sampled_softmax_loss(
        states.astype("float64"), targets, table.astype("float64"), drawn
    )
    np.testing.assert_allclose(
        losses_of(states, targets, table, len(drawn)), expected, rtol=1e-4
    )


def test_with_very_many_negatives_it_is_the_full_softmax(example):
    states, targets, table = example
    full = reference.full_softmax_loss(states, targets, table)
    np.testing.assert_allclose(losses_of(states, targets, table, 200_000), full, rtol=0.03)


def test_loss_and_gradient_estimate_the_full_ones(example):
    states, targets, table = example
    states = states / 2  # scores of a size at which rare items do not rule the sum
    direction = np.random.default_rng(4).normal(size=table.shape).astype("float32")
    step = 0.01

    def mean_over_draws(moved):
        return np.mean(
            [losses_of(states, targets, moved, 2000, seed) for seed in range(40)], axis=0
        )

    full = reference.full_softmax_loss(states, targets, table)
    np.testing.assert_allclose(mean_over_draws(table), full, rtol=0.05)
    ahead, behind = table + step * direction, table - step * direction
    slope = (mean_over_draws(ahead) - mean_over_draws(behind)) / (2 * step)
    full_slope = (
        reference.full_softmax_loss(states, targets, ahead)
        - reference.full_softmax_loss(states, targets, behind)
    ) / (2 * step)
    np.testing.assert_allclose(slope, full_slope, atol=0.05 * np.abs(full_slope).max())


def test_a_negative_that_is_the_true_item_does_not_count():
    # Item 0 is drawn about half of the time and scores far above the rest.
    states, table = np.ones((1, 1), "float32"), np.array([[30.0], [0.0], [0.0]], "float32")
    assert losses_of(states, np.array([0]), table, 500)[0] < 1e-3
    assert losses_of(states, np.array([1]), table, 500)[0] == pytest.approx(30.0, abs=0.2)


def test_draws_by_the_log_uniform_law():
    # One negative a call, and scores so far apart that the loss tells which it was.
    items, calls = 7, 800
    table = 20 * np.arange(items, dtype="float32")[:, np.newaxis]
    layer = SampledSoftmax(items, negatives=1, seed=0)
    state, target = np.ones((1, 1), "float32"), np.array([0])
    losses = [float(layer(state, target, table)[0]) for _ in range(calls)]
    drawn = np.bincount((np.array(losses) / 20).astype(int), minlength=items)
    assert len(drawn) == items
    for item in range(items):
        expected = reference.log_uniform(item, items)
        assert abs(drawn[item] - calls * expected) < 4.5 * math.sqrt(calls * expected)


def test_the_correction_is_exact_for_rare_items(monkeypatch):
    # In float32, log((i + 2) / (i + 1)) is off by up to 6 % at a million.
    items, item = 3_000_000, 1_999_998
    uniform = np.array([math.log(item + 1.5) / math.log(items + 1)])
    monkeypatch.setattr(
        keras.random, "uniform", lambda shape, **_: keras.ops.convert_to_tensor(uniform, "float32")
    )
    layer = SampledSoftmax(items, 1)
    loss = keras.ops.convert_to_numpy(
        layer(np.ones((1, 1), "float32"), np.array([0]), np.zeros((items, 1), "float32"))
    )
    # float32 cannot tell the item from its neighbours; they are as likely.
    expected = math.log1p(1 / reference.log_uniform(item, items))
    assert loss[0] == pytest.approx(expected, abs=1e-4)


def test_draws_anew_at_every_call_and_alike_for_a_seed(example):
    states, targets, table = example
    first, second = SampledSoftmax(ITEMS, 20, seed=5), SampledSoftmax(ITEMS, 20, seed=5)
    one, another = (np.asarray(first(states, targets, table)) for _ in range(2))
    assert not np.allclose(one, another)
    np.testing.assert_array_equal(np.asarray(second(states, targets, table)), one)


def test_config_round_trip(example):
    layer = SampledSoftmax(ITEMS, 20, seed=5)
    twin = SampledSoftmax.from_config(layer.get_config())
    assert (twin.items, twin.negatives, twin.seed) == (ITEMS, 20, 5)
    np.testing.assert_array_equal(np.asarray(layer(*example)), np.asarray(twin(*example)))
