"""DilatedConvolution compared with plain loops and with Conv1D."""

import keras
import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.network.dilated_convolution import DilatedConvolution


def built(inputs, **arguments):
    layer = DilatedConvolution(**arguments)
    layer.build(inputs.shape)
    return reference.randomise(layer)


def outputs_of(layer, inputs):
    return keras.ops.convert_to_numpy(layer(inputs))


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(2, 9, 3)).astype("float32")


# A reach of 1 to 28 positions, in a sequence of 9.
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel_size, dilation", [(1, 1), (3, 1), (3, 2), (3, 7), (5, 3), (5, 7)])
def test_is_the_sum_over_the_shifted_copies(inputs, kernel_size, dilation, causal):
    layer = built(inputs, filters=4, kernel_size=kernel_size, dilation_rate=dilation, causal=causal)
    expected = reference.dilated_convolution(
        inputs.astype("float64"),
        reference.numbers(layer.kernel),
        reference.numbers(layer.bias),
        dilation,
        causal,
    )
    np.testing.assert_allclose(outputs_of(layer, inputs), expected, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel_size, dilation", [(3, 1), (3, 4), (5, 2)])
def test_equals_conv1d_with_the_same_weights(inputs, kernel_size, dilation, causal):
    layer = built(inputs, filters=4, kernel_size=kernel_size, dilation_rate=dilation, causal=causal)
    conv1d = keras.layers.Conv1D(
        4, kernel_size, dilation_rate=dilation, padding="causal" if causal else "same"
    )
    conv1d.build(inputs.shape)
    conv1d.set_weights(layer.get_weights())
    np.testing.assert_allclose(
        outputs_of(layer, inputs), keras.ops.convert_to_numpy(conv1d(inputs)), atol=1e-5
    )


@pytest.mark.parametrize(
    "causal, touched", [(True, [4, 6, 8]), (False, [2, 4, 6])], ids=["causal", "bidirectional"]
)
def test_a_position_reaches_exactly_what_its_kernel_sees(inputs, causal, touched):
    layer = built(inputs, filters=4, dilation_rate=2, causal=causal)
    changed = inputs.copy()
    changed[:, 4] += 1.0
    difference = np.abs(outputs_of(layer, changed) - outputs_of(layer, inputs)).max(axis=(0, 2))
    assert np.flatnonzero(difference).tolist() == touched


def test_a_single_position_is_enough():
    inputs = np.ones((1, 1, 2), "float32")
    layer = built(inputs, filters=2, dilation_rate=8)
    expected = np.ones(2) @ reference.numbers(layer.kernel)[-1] + reference.numbers(layer.bias)
    np.testing.assert_allclose(outputs_of(layer, inputs)[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name, value",
    [
        ("filters", 0),
        ("filters", 2.0),
        ("dilation_rate", 0),
        ("dilation_rate", -1),
        ("kernel_size", 2),
        ("kernel_size", 0),
        ("kernel_size", "3"),
    ],
)
def test_bad_arguments_raise(name, value):
    with pytest.raises(
        ValueError, match=f"^`{name}` should be an? .*Received: `{name}` = "
    ) as info:
        DilatedConvolution(**{"filters": 2, name: value})
    assert repr(value) in str(info.value)


def test_config_round_trip(inputs):
    layer = built(
        inputs,
        filters=4,
        kernel_size=5,
        dilation_rate=2,
        causal=False,
        kernel_initializer="he_normal",
        bias_initializer="ones",
        name="named",
    )
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(twin) is DilatedConvolution
    assert twin.get_config() == layer.get_config()
    assert reference.numbers(twin.bias).tolist() == [1.0] * 4  # as initialised
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(outputs_of(twin, inputs), outputs_of(layer, inputs))


def test_static_shape_is_the_real_one(inputs):
    layer = DilatedConvolution(5, dilation_rate=3)
    assert layer.compute_output_shape((None, None, 3)) == (None, None, 5)
    assert layer(inputs).shape == (2, 9, 5)
    assert layer(keras.Input((None, 3))).shape == (None, None, 5)
