"""TaskToken and TokenPooling: where the token stands and what is read of it."""

import keras
import numpy as np
import pytest

import numpy_reference as reference
from keras_peterrec.layers.task_token import TaskToken
from keras_peterrec.layers.token_pooling import TokenPooling

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
def test_stands_where_the_loop_puts_it(causal, table):
    layer, inputs, mask, results = placed(causal, table)
    expected = reference.task_token(inputs, mask, reference.numbers(layer.token), causal)
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, atol=1e-6)


def test_places_of_a_causal_and_a_bidirectional_token(table):
    _, _, _, (_, mask, places) = placed(True, table)
    assert places[..., 0].tolist() == [[0, 0, 0, 0, 1]] * 4
    assert mask[..., 0].tolist() == [
        [1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]
    ]
    _, _, _, (_, mask, places) = placed(False, table)
    assert places[..., 0].tolist() == [
        [1, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 1], [0, 0, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1]
    ]
    assert mask[..., 0].tolist() == [
        [1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]
    ]


@pytest.mark.parametrize("causal", [True, False])
def test_announces_the_shapes_that_come(causal, table):
    layer, _, _, results = placed(causal, table)
    announced = layer(keras.Input((None, 3)), keras.Input((None, 1)))
    assert [spec.shape for spec in announced] == [(None, None, 3), (None, None, 1), (None, None, 1)]
    announced = layer(keras.Input((4, 3)), keras.Input((4, 1)))
    assert [spec.shape[1:] for spec in announced] == [result.shape[1:] for result in results]


def test_trains_one_vector(table):
    layer, *_ = placed(False, table)
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [(3,)]


def test_config_round_trip(table):
    layer = TaskToken(causal=False, initializer="ones")
    twin = TaskToken.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    twin.build((None, None, 3))
    assert reference.numbers(twin.token).tolist() == [1, 1, 1]


@pytest.mark.parametrize("causal", [True, False])
def test_pooling_sums_the_states_at_the_token(causal, table):
    _, _, _, (_, _, places) = placed(causal, table)
    states = np.random.default_rng(2).normal(size=(*places.shape[:2], 5)).astype("float32")
    pooled = keras.ops.convert_to_numpy(TokenPooling()(states, places))
    np.testing.assert_allclose(pooled, reference.pool(states, places), atol=1e-6)
