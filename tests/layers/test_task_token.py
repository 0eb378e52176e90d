"""TaskToken and TokenPooling: where the token stands, and what is read from it."""

import keras
import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.layers.task_token import TaskToken, TokenPooling

# Full, half empty, one item, empty.
IDS = np.array([[5, 4, 7, 9], [0, 0, 4, 6], [0, 0, 0, 8], [0, 0, 0, 0]])


@pytest.fixture
def table():
    return np.random.default_rng(0).normal(size=(10, 3)).astype("float32")


def placed(causal, table, ids=IDS):
    layer = TaskToken(causal)
    inputs, mask = reference.embed(ids, table), reference.padding_mask(ids)
    results = layer(inputs.astype("float32"), mask.astype("float32"))
    return layer, inputs, mask, [keras.ops.convert_to_numpy(result) for result in results]


@pytest.mark.parametrize("causal", [True, False])
def test_token_stands_where_the_reference_puts_it(causal, table):
    layer, inputs, mask, results = placed(causal, table)
    expected = reference.task_token(inputs, mask, reference.numbers(layer.token), causal)
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, atol=1e-6)


def test_positions_of_a_causal_and_a_bidirectional_token(table):
    _, _, _, (_, mask, places) = placed(True, table)
    assert places[..., 0].tolist() == [[0, 0, 0, 0, 1]] * 4
    assert mask[..., 0].tolist() == [
        [1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1],
    ]
    _, _, _, (_, mask, places) = placed(False, table)
    assert places[..., 0].tolist() == [
        [1, 0, 0, 0, 0, 1],
        [0, 0, 1, 0, 0, 1],
        [0, 0, 0, 1, 0, 1],
        [0, 0, 0, 0, 1, 1],
    ]
    assert mask[..., 0].tolist() == [
        [1, 1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize("causal", [True, False])
def test_every_row_can_have_a_token_of_its_own(causal, table):
    layer, inputs, mask, _ = placed(causal, table)
    tokens = np.random.default_rng(3).normal(size=(len(IDS), 1, 3)).astype("float32")
    got = [
        keras.ops.convert_to_numpy(part)
        for part in layer(inputs.astype("float32"), mask.astype("float32"), tokens)
    ]
    for row, token in enumerate(tokens):
        expected = reference.task_token(inputs[row : row + 1], mask[row : row + 1], token, causal)
        for part, wanted in zip(got, expected, strict=True):
            np.testing.assert_allclose(part[row : row + 1], wanted, atol=1e-6)


def test_half_precision_counts_far_enough():
    # bfloat16 has no 257: a sum of ones stops at 256.
    layer = TaskToken(causal=False, dtype="mixed_bfloat16")
    mask = (np.arange(300) >= 290).astype("float32")[np.newaxis, :, np.newaxis]
    _, _, places = layer(np.zeros((1, 300, 3), "float32"), mask)
    at = np.flatnonzero(keras.ops.convert_to_numpy(keras.ops.cast(places, "float32")))
    assert at.tolist() == [290, 301]


@pytest.mark.parametrize("causal", [True, False])
def test_static_shapes_are_the_real_ones(causal, table):
    layer, _, _, results = placed(causal, table)
    announced = layer(keras.Input((None, 3)), keras.Input((None, 1)))
    assert [spec.shape for spec in announced] == [(None, None, 3), (None, None, 1), (None, None, 1)]
    announced = layer(keras.Input((4, 3)), keras.Input((4, 1)))
    assert [spec.shape[1:] for spec in announced] == [result.shape[1:] for result in results]


def test_both_tokens_are_one_trained_vector(table):
    layer, *_ = placed(False, table)
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [(3,)]


def test_config_round_trip(table):
    layer = TaskToken(causal=False, initializer="ones")
    twin = TaskToken.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    twin.build((None, None, 3))
    assert reference.numbers(twin.token).tolist() == [1, 1, 1]


@pytest.mark.parametrize("causal", [True, False])
def test_pooling_sums_over_ends(causal, table):
    _, _, _, (_, _, places) = placed(causal, table)
    states = np.random.default_rng(2).normal(size=(*places.shape[:2], 5)).astype("float32")
    pooled = keras.ops.convert_to_numpy(TokenPooling()(states, places))
    np.testing.assert_allclose(pooled, reference.pool(states, places), atol=1e-6)
