"""ResidualBlock compared with plain loops; its sites, its mask and its padding."""

import functools

import keras
import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.network.residual_block import SITES, ResidualBlock

CHANNELS = 4


def make_block(seed=0, **arguments):
    block = ResidualBlock(**{"dilation_rate": 2, **arguments})
    block.build((None, None, CHANNELS))
    return reference.randomise(block, seed)


def rows(padding, length=9, seed=1):
    """Inputs and mask, with the given amount of padding on the left of each row."""
    inputs = np.random.default_rng(seed).normal(size=(len(padding), length, CHANNELS))
    mask = (np.arange(length) >= np.array(padding)[:, np.newaxis])[..., np.newaxis]
    return (inputs * mask).astype("float32"), mask.astype("float32")


def run(block, inputs, mask, patch=None, **arguments):
    """States, with `patch(site, inputs, outputs)` at every site."""
    if patch is not None:
        arguments["patches"] = {site: functools.partial(patch, site) for site in SITES}
    return keras.ops.convert_to_numpy(block(inputs, mask, **arguments))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel_size, dilation", [(3, 1), (3, 4), (5, 2)])
def test_equals_the_formula(kernel_size, dilation, causal):
    block = make_block(dilation_rate=dilation, kernel_size=kernel_size, causal=causal)
    inputs, mask = rows([0, 3, 9])
    expected = reference.residual_block(
        inputs.astype("float64"), mask, reference.block_weights(block), dilation, causal
    )
    np.testing.assert_allclose(run(block, inputs, mask), expected, atol=1e-4)


def test_normalises_even_very_small_numbers():
    # 1e-8 and not Keras' 1e-3: a state of size 1e-3 is still normalised.
    block = make_block(dilation_rate=1)
    inputs, mask = rows([0])
    for convolution in block.convolutions:
        convolution.kernel.assign(keras.ops.convert_to_numpy(convolution.kernel) * 1e-3)
        convolution.bias.assign(np.zeros(CHANNELS))
    expected = reference.residual_block(
        inputs.astype("float64"), mask, reference.block_weights(block), 1, True
    )
    np.testing.assert_allclose(run(block, inputs, mask), expected, atol=1e-3)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_inert_and_stays_zero(causal):
    block = make_block(causal=causal)
    inputs, mask = rows([0])
    states = run(block, inputs, mask)
    padded = run(
        block,
        np.pad(inputs, [[0, 0], [5, 0], [0, 0]]),
        np.pad(mask, [[0, 0], [5, 0], [0, 0]]),
    )
    np.testing.assert_allclose(padded[:, 5:], states, atol=1e-5)
    assert not padded[:, :5].any()


def test_patches_are_called_in_order_with_inputs_and_outputs():
    block = make_block()
    inputs, mask = rows([0, 3])
    calls = []

    def watch(site, read, gave, seen):
        calls.append((site, *map(keras.ops.convert_to_numpy, (read, gave))))
        return gave

    states = run(block, inputs, mask, patch=watch)
    np.testing.assert_array_equal(states, run(block, inputs, mask))
    assert [site for site, _, _ in calls] == [*SITES]
    halves = [calls[:3], calls[3:]]
    read = inputs
    for half, dilation, weights in zip(halves, (2, 4), reference.block_weights(block)):
        (_, read1, convolved), (_, read2, normed), (_, read3, active) = half
        for seen in (read1, read2, read3):
            np.testing.assert_array_equal(seen, read)
        expected = reference.dilated_convolution(
            read.astype("float64"), *weights[:2], dilation, True
        )
        np.testing.assert_allclose(convolved, expected, atol=1e-4)
        expected = reference.layer_norm(convolved.astype("float64"), *weights[2:])
        np.testing.assert_allclose(normed, expected, atol=1e-4)
        np.testing.assert_array_equal(active, np.maximum(normed, 0))
        read = active * mask
    np.testing.assert_allclose(states, inputs + read, atol=1e-6)


@pytest.mark.parametrize("site", SITES)
def test_goes_on_with_what_the_patch_returns(site):
    block = make_block()
    inputs, mask = rows([0, 3])

    def shift(at, read, gave, seen):
        return gave + np.arange(CHANNELS, dtype="float32") if at == site else gave

    shifted, plain = run(block, inputs, mask, patch=shift), run(block, inputs, mask)
    assert np.abs(shifted - plain)[0].max() > 0.01
    assert not shifted[1, :3].any()  # a patch cannot write into the padding


def test_without_its_branch_it_is_the_identity():
    block = make_block()
    inputs, mask = rows([0, 3])
    states = run(block, inputs, mask, patch=lambda site, read, gave, seen: gave * 0.0)
    np.testing.assert_array_equal(states, inputs)


def test_dropout_acts_on_the_branch_and_only_in_training():
    block = make_block(dropout=0.5)
    inputs, mask = rows([0], length=64)
    at_rest = run(block, inputs, mask) - inputs
    np.testing.assert_allclose(at_rest, run(block, inputs, mask, training=False) - inputs)
    kept = run(block, inputs, mask, training=True) - inputs
    active = np.abs(at_rest) > 1e-3
    dropped = np.abs(kept[active]) < 1e-6
    assert 0.3 < dropped.mean() < 0.7
    np.testing.assert_allclose(kept[active][~dropped], 2 * at_rest[active][~dropped], rtol=1e-3)


def test_a_token_at_a_position_sees_what_stands_before_it():
    block = make_block(dilation_rate=2)
    inputs, mask = rows([0, 3])
    token = np.random.default_rng(2).normal(size=CHANNELS).astype("float32")
    tokens = np.broadcast_to(token, inputs.shape)
    states, of_tokens = block.with_tokens(inputs, tokens, mask)
    np.testing.assert_allclose(states, run(block, inputs, mask), atol=1e-5)
    for place in range(inputs.shape[1]):
        ended, real = inputs[:, : place + 1].copy(), mask[:, : place + 1].copy()
        ended[:, -1], real[:, -1] = token, 1.0
        expected = run(block, ended, real)[:, -1]
        np.testing.assert_allclose(np.asarray(of_tokens)[:, place], expected, atol=1e-5)


def test_config_round_trip():
    block = make_block(dilation_rate=4, kernel_size=5, causal=False, dropout=0.25)
    twin = ResidualBlock.from_config(block.get_config())
    assert twin.get_config() == block.get_config()
    inputs, mask = rows([0, 3])
    twin.build(inputs.shape)
    twin.set_weights(block.get_weights())
    np.testing.assert_array_equal(run(twin, inputs, mask), run(block, inputs, mask))
