"""HashedDropout drops the right share, differently each time and without patterns."""

import keras
import numpy as np
import pytest

from keras_peterrec.layers.hashed_dropout import HashedDropout


def dropped(layer, shape=(20, 50, 64)):
    outputs = keras.ops.convert_to_numpy(layer(np.ones(shape, "float32"), training=True))
    kept = outputs[outputs != 0]
    np.testing.assert_allclose(kept, 1 / (1 - layer.rate), rtol=1e-6)
    return outputs == 0


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_drops_the_right_share_along_every_axis(rate):
    zeros = dropped(HashedDropout(rate, seed=1))
    spread = np.sqrt(rate * (1 - rate))
    for axes in ((0, 1, 2), (1, 2), (0, 2), (0, 1)):
        shares = zeros.mean(axis=axes)
        count = zeros.size / max(1, shares.size)
        assert np.abs(shares - rate).max() < 5 * spread / np.sqrt(count)


def test_neighbours_layers_and_steps_are_not_correlated():
    layer = HashedDropout(0.5, seed=1)
    first, second = dropped(layer), dropped(layer)
    other = dropped(HashedDropout(0.5, seed=2))
    pairs = [
        (first, second),
        (first, other),
        (first[:, :, 1:], first[:, :, :-1]),
        (first[:, 1:], first[:, :-1]),
        (first[1:], first[:-1]),
    ]
    for one, another in pairs:
        correlation = np.corrcoef(one.ravel(), another.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(one.size)


def test_the_same_seed_drops_the_same():
    masks = [dropped(HashedDropout(0.3, seed=7)) for _ in range(2)]
    np.testing.assert_array_equal(*masks)


def test_does_nothing_outside_training():
    inputs = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    outputs = keras.ops.convert_to_numpy(HashedDropout(0.5)(inputs, training=False))
    np.testing.assert_array_equal(outputs, inputs)
