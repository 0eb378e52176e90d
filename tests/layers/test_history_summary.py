"""The history as a set, joined to the task token's state."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.layers.history_summary import HistorySummary, HistorySums
from keras_peterrec.layers.history_summary import normalized as in_any_precision
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.transfer.task_model import TaskModel

CHANNELS = 6
WAVES = 4 * CHANNELS


def normalized(rows):
    return rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + 1e-8)


def sine(turns):
    """Parabolas through the zeros and the peaks of `sin(2π turns)`."""
    part = turns % 1.0
    return 16 * part * (0.5 - part) if part < 0.5 else -16 * (part - 0.5) * (1.0 - part)


def wave(item, number):
    """φ of one item, `number` from 1 on: speed 2, four frequencies for each channel."""
    shift = number * 6_257 % 16_381 / 16_381
    turns = shift
    for channel, value in enumerate(normalized(item), 1):
        frequency = sine(channel * number * 10_124 % 16_381 / 16_381) * np.sqrt(2 / CHANNELS)
        turns += 2 / (2 * np.pi) * frequency * value
    return np.sqrt(2 / 4) * (sine(turns) - np.exp(-2) * sine(shift))


def reference(state, items, matrix):
    """`n(h) + s D` of one user, item by item."""
    summary = np.zeros(WAVES)
    for item in items:
        summary += [wave(item, number) for number in range(1, WAVES + 1)]
    return normalized(state) + summary / np.sqrt(max(len(items), 1)) @ matrix


def test_the_parabolas_are_near_the_sine():
    turns = np.linspace(-2, 2, 101)
    np.testing.assert_allclose([sine(t) for t in turns], np.sin(2 * np.pi * turns), atol=0.06)


def test_equals_the_formula_with_one_matrix_and_with_one_for_each_row():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, CHANNELS)).astype("float32")
    items = rng.normal(size=(3, 5, CHANNELS)).astype("float32")
    lengths = [5, 2, 0]
    mask = np.array([[5 - n <= place for place in range(5)] for n in lengths], "float32")[..., None]
    layer = HistorySummary()
    features = layer.features(states, *HistorySums()(items, mask))
    layer.build(features.shape)
    matrices = rng.normal(size=(3, WAVES, CHANNELS)).astype("float32")
    layer.kernel.assign(matrices[0])
    for matrix_of, users in (
        (lambda row: matrices[0], layer(features)),
        (lambda row: matrices[row], layer(features, matrices)),
    ):
        for row, length in enumerate(lengths):
            expected = reference(states[row], items[row, 5 - length :], matrix_of(row))
            np.testing.assert_allclose(np.asarray(users)[row], expected, atol=1e-5)


def test_starts_as_the_tokens_state_alone():
    features = np.arange(CHANNELS + WAVES, dtype="float32")[None]
    np.testing.assert_array_equal(HistorySummary()(features), features[:, :CHANNELS])


def test_alike_items_count_as_one_and_others_do_not():
    rng = np.random.default_rng(0)
    item, other = rng.normal(size=(2, 64)).astype("float32")
    waves = np.asarray(HistorySums.waves(np.stack([item, item + 0.01 * other, other])))
    alike, _, different = waves @ waves[0] / (waves**2).sum(axis=-1).mean()
    near = waves[1] @ waves[0] / (waves[0] @ waves[0])
    assert near > 0.99 and alike > 0.8 and abs(different) < 0.3


MODELS = [
    TaskModel(
        Backbone(16, CHANNELS, (1, 4), causal=causal), keras.layers.Dense(2), history_summary=True
    )
    for causal in (True, False)
]


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.lists(st.integers(1, 15), max_size=6),
    st.integers(0, 5),
    st.randoms(),
)
def test_padding_is_inert_and_order_does_not_count(model, history, room, random):
    padded = np.array([[0] * (room + 1) + history], "int32")
    shuffled = list(history)
    random.shuffle(shuffled)
    summary = np.asarray(model.features(padded))[:, CHANNELS:]
    again = np.asarray(model.features(np.array([[0] + shuffled], "int32")))[:, CHANNELS:]
    np.testing.assert_allclose(summary, again, atol=1e-5)
    tight = model.features(np.array([[0] + history], "int32"))
    np.testing.assert_allclose(model.features(padded), tight, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_zeros_stay_zeros_and_large_values_finite_in_any_precision(dtype):
    rows = np.array([[0.0] * CHANNELS, [400.0] * CHANNELS], dtype)
    got = in_any_precision(rows)
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    np.testing.assert_allclose(np.asarray(got), [[0.0] * CHANNELS, [1.0] * CHANNELS], rtol=1e-3)
