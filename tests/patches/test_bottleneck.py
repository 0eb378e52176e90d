"""The bottleneck: its settings, and its four insertions against plain loops."""

import dataclasses

import keras
import numpy as np
import numpy_reference as reference
import pytest
from patched_block import PatchedBlock

from keras_peterrec.errors import InputError
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.network.residual_block import SITES, ResidualBlock
from keras_peterrec.patches.bottleneck import INSERTIONS, Bottleneck, BottleneckPatch

CHANNELS, WIDTH = 4, 2


@pytest.fixture
def rows():
    inputs = np.random.default_rng(1).normal(size=(3, 9, CHANNELS))
    mask = (np.arange(9) >= np.array([[0], [3], [8]]))[..., np.newaxis]
    return (inputs * mask).astype("float32"), mask.astype("float32")


def make_blocks(insertion, inner_skip=False, causal=True):
    block = ResidualBlock(dilation_rate=2, causal=causal)
    block.build((None, None, CHANNELS))
    reference.randomise(block)
    patches = Bottleneck(WIDTH, insertion, inner_skip).make_patches(block.sites, 1)
    return block, PatchedBlock(block, patches, CHANNELS)


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("inner_skip", [False, True])
@pytest.mark.parametrize("insertion", INSERTIONS)
def test_acts_where_the_insertion_says(insertion, inner_skip, causal, rows):
    block, patched = make_blocks(insertion, inner_skip, causal)
    for seed, patch in enumerate(patched.patches.values(), 7):
        reference.randomise(patch, seed)
    inputs, mask = rows
    expected = reference.residual_block(
        inputs.astype("float64"),
        mask,
        reference.block_weights(block),
        dilation=2,
        causal=causal,
        insertion=insertion,
        patches=[reference.patch_weights(patch) for patch in patched.patches.values()],
        inner_skip=inner_skip,
    )
    states = patched(inputs, mask)
    np.testing.assert_allclose(states, expected, atol=2e-4)
    assert np.abs(states - as_numpy(block(inputs, mask))).max() > 0.05


def test_the_four_insertions_differ(rows):
    inputs, mask = rows
    seen = []
    for insertion in INSERTIONS:
        _, patched = make_blocks(insertion)
        for patch in patched.patches.values():
            reference.randomise(patch, 7)
        seen.append(patched(inputs, mask))
    for n, states in enumerate(seen):
        assert all(np.abs(states - other).max() > 0.01 for other in seen[n + 1 :])


@pytest.mark.parametrize("insertion", INSERTIONS)
def test_a_fresh_patch_changes_no_bit(insertion, rows):
    block, patched = make_blocks(insertion)
    assert patched(*rows).tobytes() == as_numpy(block(*rows)).tobytes()


@pytest.mark.parametrize("insertion", ["parallel", "parallel_after_activation"])
def test_the_papers_inner_skip_changes_the_host_at_once(insertion, rows):
    block, patched = make_blocks(insertion, inner_skip=True)
    assert np.abs(patched(*rows) - as_numpy(block(*rows))).max() > 0.05


def test_a_fresh_patch_can_learn():
    # The up-projection starts at zero, the down-projection must not.
    patch = BottleneckPatch(WIDTH)
    patch.build((None, None, CHANNELS), (None, None, CHANNELS))
    down, down_bias, up, up_bias = reference.patch_weights(patch)
    assert down.any() and not down_bias.any() and not up.any() and not up_bias.any()


def test_gelu_is_the_one_by_tanh_as_in_the_official_code():
    patch = BottleneckPatch(1, parallel=False)
    patch.build((None, None, 1), (None, None, 1))
    patch.set_weights([np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    z = np.linspace(-4, 4, 81)[np.newaxis, :, np.newaxis]
    got = as_numpy(patch(z.astype("float32"), z.astype("float32"))) - z
    np.testing.assert_allclose(got, reference.gelu(z), atol=2e-6)
    assert np.abs(reference.gelu(z) - reference.exact_gelu(z)).max() > 1e-4


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("insertion", INSERTIONS)
def test_padding_stays_inert_beside_a_patch(insertion, causal, rows):
    _, patched = make_blocks(insertion, causal=causal)
    for patch in patched.patches.values():
        reference.randomise(patch, 7)  # its biases would fill the padding
    inputs, mask = (part[:1] for part in rows)
    room = [[0, 0], [4, 0], [0, 0]]
    padded = patched(np.pad(inputs, room), np.pad(mask, room))
    np.testing.assert_allclose(padded[:, 4:], patched(inputs, mask), atol=1e-5)
    assert not padded[:, :4].any()


def test_parameters_of_a_patch_are_a_twelfth_of_a_convolution():
    patch = BottleneckPatch(32)
    patch.build((None, None, 256), (None, None, 256))
    assert patch.count_params() == 2 * 256 * 32 + 32 + 256
    assert patch.count_params() / (3 * 256 * 256 + 256) == pytest.approx(0.085, abs=0.0005)


@pytest.mark.parametrize("value", [0, -1, 1.5, "8"])
def test_refuses_a_bad_width(value):
    message = "`width` should be a positive integer. Received: `width` = "
    with pytest.raises(ValueError) as info:
        BottleneckPatch(value)
    assert str(info.value) == f"{message}{value!r}."
    with pytest.raises(InputError) as info:
        Bottleneck(width=value)
    assert str(info.value) == f"{message}{value!r}."


def test_config_round_trip():
    patch = BottleneckPatch(3, parallel=False, inner_skip=True, name="convolution_2")
    twin = BottleneckPatch.from_config(patch.get_config())
    assert twin.get_config() == patch.get_config()
    assert (twin.width, twin.parallel, twin.inner_skip) == (3, False, True)


def test_the_four_insertions_of_the_paper():
    def sites(insertion):
        return tuple(name for name, kind in SITES.items() if kind in insertion.kinds)

    assert {name: (sites(one), one.parallel) for name, one in INSERTIONS.items()} == {
        "serial": (("convolution_1", "convolution_2"), False),
        "serial_single": (("activation_2",), False),
        "parallel": (("convolution_1", "convolution_2"), True),
        "parallel_after_activation": (("activation_1", "activation_2"), True),
    }


def test_an_unknown_insertion_is_refused_with_the_known_ones():
    expected = (
        "`insertion` should be one of serial, serial_single, parallel, "
        "parallel_after_activation. Received: `insertion` = 'paralel'."
    )
    with pytest.raises(InputError) as info:
        Bottleneck(insertion="paralel")
    assert str(info.value) == expected


@pytest.mark.parametrize("insertion", INSERTIONS)
def test_makes_a_patch_for_each_site(insertion):
    block, _ = make_blocks(insertion)
    patches = Bottleneck(3, insertion, inner_skip=True).make_patches(block.sites, 1)
    assert {SITES[name] for name in patches} == {*INSERTIONS[insertion].kinds}
    for site, patch in patches.items():
        assert patch.name == site and patch.width == 3 and patch.inner_skip
        assert patch.parallel == INSERTIONS[insertion].parallel
    assert len({id(patch) for patch in patches.values()}) == len(patches)


def test_settings_are_frozen_and_replaced_by_copies():
    settings = Bottleneck(width=8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.width = 4
    assert settings.replace(insertion="serial") == Bottleneck(8, "serial")
    assert settings == Bottleneck(8, "parallel", False)
    with pytest.raises(InputError):
        settings.replace(width=0)


@pytest.mark.parametrize("hidden_dim, width", [(64, 8), (16, 2), (4, 1)])
def test_width_defaults_to_an_eighth_of_the_host(hidden_dim, width):
    host = ConvolutionNetwork(10, hidden_dim, dilations=(1,))
    assert Bottleneck().for_host(host).width == width
    assert Bottleneck(5).for_host(host).width == 5
