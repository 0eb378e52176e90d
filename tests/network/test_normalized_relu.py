"""NormalizedRelu compared with plain loops and with automatic differentiation."""

import keras
import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.network.normalized_relu import NormalizedRelu


def make_layer(channels=5, **arguments):
    layer = NormalizedRelu(**arguments)
    layer.build((None, None, channels))
    return reference.randomise(layer)


def test_equals_the_formula():
    layer = make_layer()
    inputs = np.random.default_rng(1).normal(2.0, 3.0, (2, 4, 5))
    normed = reference.layer_norm(inputs, *map(reference.numbers, (layer.gamma, layer.beta)))
    outputs = keras.ops.convert_to_numpy(layer(inputs.astype("float32")))
    np.testing.assert_allclose(outputs, np.maximum(normed, 0), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs a gradient tape")
@pytest.mark.parametrize("shape", [(7, 5), (2, 4, 5)])
def test_gradient_equals_that_of_the_two_layers_in_turn(shape):
    import tensorflow as tf

    layer = make_layer()
    plain = keras.layers.LayerNormalization(epsilon=1e-8)
    plain.build(shape)
    plain.set_weights(layer.get_weights())
    rng = np.random.default_rng(2)
    inputs = tf.constant(rng.normal(size=shape).astype("float32"))
    upstream = rng.normal(size=shape).astype("float32")

    def gradients(function, weights):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = tf.reduce_sum(function(inputs) * upstream)
        return tape.gradient(value, [inputs, *weights])

    found = gradients(layer, [w.value for w in layer.weights])
    wanted = gradients(lambda x: tf.nn.relu(plain(x)), [w.value for w in plain.weights])
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_computed_in_float32(policy):
    layer, half = make_layer(), NormalizedRelu(dtype=policy)
    half.build((None, 5))
    half.set_weights(layer.get_weights())
    inputs = keras.ops.cast(np.random.default_rng(3).normal(size=(6, 5)) * 1e-3, half.compute_dtype)
    outputs = half(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == half.compute_dtype
    exact = layer(keras.ops.cast(inputs, "float32"))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32")),
        keras.ops.convert_to_numpy(exact),
        atol=0.02,
    )


def test_config_round_trip():
    layer = make_layer(epsilon=1e-6)
    twin = NormalizedRelu.from_config(layer.get_config())
    assert twin.epsilon == 1e-6
    assert [w.name for w in layer.weights] == ["gamma", "beta"]
