"""What must hold for every patch method, ours and users' alike."""

import functools

import keras
import numpy as np
import numpy_reference as reference
import pytest
from patched_block import PatchedBlock

from keras_peterrec.errors import InputError
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.network.residual_block import ResidualBlock
from keras_peterrec.patches.affine import Ia3
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.compacter import Compacter
from keras_peterrec.patches.lora import Lora
from keras_peterrec.patches.registry import patch_methods
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.patches.stack import Stack
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.task_model import TaskModel

CHANNELS = 8
# Parameters of all the patches of one block with its two convolutions, kernel 3.
PARAMETERS = {
    "bottleneck:2": 2 * (2 * CHANNELS * 2 + 2 + CHANNELS),
    "compacter:4": 2 * (2 * 4**3 + 2 * 4 * (CHANNELS // 4 + 1) + 4 + CHANNELS),
    "lora:2": 2 * (3 * CHANNELS * 2 + 2 * CHANNELS),
    "ia3": 2 * CHANNELS,
    "scale_shift": 8 * CHANNELS,
    "bias": 4 * CHANNELS,
    "norm": 4 * CHANNELS,
    "item_bottleneck:2": 0,  # before the blocks; see test_item_patches.py
    "item_lora:2": 0,
    "lora:2+scale_shift+bottleneck:2": 2 * (3 * CHANNELS * 2 + 2 * CHANNELS)
    + 8 * CHANNELS
    + 2 * (2 * CHANNELS * 2 + 2 + CHANNELS),
}
NAMES = list(PARAMETERS)
CHANGING = [name for name in NAMES if PARAMETERS[name]]


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@functools.cache  # no test changes them
def make_blocks(name, causal=True, seed=None):
    """A block, and the same with patches, which get random weights where asked."""
    block = ResidualBlock(dilation_rate=2, causal=causal)
    block.build((None, None, CHANNELS))
    reference.randomise(block)
    patched = PatchedBlock(block, get_patch(name).make_patches(block.sites, 1), CHANNELS)
    if seed is not None:
        for number, patch in enumerate(patched.patches.values()):
            reference.randomise(patch, seed + number)
    return block, patched


def rows(padding=(0, 3, 8), length=9):
    inputs = np.random.default_rng(1).normal(size=(len(padding), length, CHANNELS))
    mask = (np.arange(length) >= np.array(padding)[:, np.newaxis])[..., np.newaxis]
    return (inputs * mask).astype("float32"), mask.astype("float32")


def test_every_method_is_tested_here():
    assert {name.split(":")[0] for name in NAMES if "+" not in name} == set(patch_methods())


@pytest.mark.parametrize("name", NAMES)
def test_a_new_patch_changes_no_bit(name):
    block, patched = make_blocks(name)
    assert patched(*rows()).tobytes() == as_numpy(block(*rows())).tobytes()


@pytest.mark.parametrize("name", CHANGING)
def test_a_trained_patch_changes_every_state(name):
    block, patched = make_blocks(name, seed=5)
    change = np.abs(patched(*rows()) - as_numpy(block(*rows()))).max(axis=-1)
    assert (change[0] > 1e-3).all()


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name):
    _, patched = make_blocks(name)
    patches = patched.patches.values()
    assert sum(patch.count_params() for patch in patches) == PARAMETERS[name]
    for patch in patches:
        assert len(patch.named_weights()) == len(patch.weights)
        assert all(weight.trainable for weight in patch.weights)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", CHANGING)
def test_padding_stays_inert(name, causal):
    _, patched = make_blocks(name, causal, seed=5)
    inputs, mask = (part[:1] for part in rows())
    room = [[0, 0], [4, 0], [0, 0]]
    padded = patched(np.pad(inputs, room), np.pad(mask, room))
    np.testing.assert_allclose(padded[:, 4:], patched(inputs, mask), atol=1e-5)
    assert not padded[:, :4].any()


@pytest.mark.parametrize("name", CHANGING)
def test_a_causal_patch_does_not_see_the_future(name):
    _, patched = make_blocks(name, seed=5)
    inputs, mask = rows(padding=(0,))
    before = patched(inputs, mask)
    changed = inputs.copy()
    changed[:, 5:] += 1.0
    after = patched(changed, mask)
    np.testing.assert_allclose(after[:, :5], before[:, :5], atol=1e-6)
    assert np.abs(after[:, 5:] - before[:, 5:]).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_blocks_that_are_left_out_have_no_patch(name):
    host = ConvolutionNetwork(10, CHANNELS, dilations=(1, 4, 1))
    task = TaskModel(host, LinearHead(2), get_patch(name).replace(blocks=[1, 3]))
    sites = {block: set(patches) for block, patches in task.patches.items()}
    assert sites["block_2"] == set()
    assert sites["block_1"] == sites["block_3"] and bool(sites["block_1"]) == (name in CHANGING)


@pytest.mark.parametrize("name", CHANGING)
def test_layers_survive_keras_serialisation(name):
    _, patched = make_blocks(name, seed=5)
    inputs, mask = rows()
    for patch in patched.patches.values():
        config = keras.saving.serialize_keras_object(patch)
        twin = keras.saving.deserialize_keras_object(config)
        if not twin.built:  # Keras builds what it has seen built
            twin.build(inputs.shape, inputs.shape)
        assert list(twin.named_weights()) == list(patch.named_weights())
        for path, weight in twin.named_weights().items():
            weight.assign(patch.named_weights()[path])
        seen = lambda: np.tile(inputs, 3)
        np.testing.assert_array_equal(
            as_numpy(twin(inputs, inputs, seen=seen)), as_numpy(patch(inputs, inputs, seen=seen))
        )


def test_every_block_can_have_a_width_of_its_own():
    host = ConvolutionNetwork(10, CHANNELS, dilations=(1, 4, 1))
    task = TaskModel(host, LinearHead(2), Bottleneck([5, 2], blocks=[3, 1]))
    widths = {
        block: {patch.width for patch in patches.values()}
        for block, patches in task.patches.items()
    }
    widths.pop("item_embedding")
    assert widths == {"block_1": {2}, "block_2": set(), "block_3": {5}}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Lora(0), "`rank` should be a positive integer. Received: `rank` = 0."),
        (lambda: Lora(True), "`rank` should be a positive integer. Received: `rank` = True."),
        (lambda: Compacter(factor=0), "`factor` should be a positive integer."),
        (lambda: Ia3(blocks=[0]), "`blocks` should be a positive integer. Received: `blocks` = 0"),
        (lambda: Bottleneck((2, 4), blocks=(2, 2)), "`blocks` should name each block once."),
        (lambda: Bottleneck((2, None)), "`width` should be a positive integer."),
        (lambda: Stack([Lora()]), "`methods` should be two or more patch methods."),
        (lambda: Stack(["lora", "norm"]), "`methods` should be two or more patch methods."),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError) as info:
        make()
    assert str(info.value).startswith(message)


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            Lora(blocks=[4]),
            "`blocks` should be numbers of the host's blocks, 1 to 3. Received: `blocks` = ",
        ),
        (Bottleneck((2, 2)), "`width` should be one width, or one for each of 3 patched"),
        (Bottleneck((2, 2, 2), blocks=(1,)), "one for each of 1 patched blocks."),
        (Compacter(6), "`factor` should divide the host's 8 channels and the width 6."),
        (Compacter(factor=3), "`factor` should divide the host's 8 channels"),
        (Stack([Lora(), Compacter(6)]), "`factor` should divide"),
    ],
)
def test_settings_that_do_not_fit_the_host_are_refused(settings, message):
    host = ConvolutionNetwork(10, CHANNELS, dilations=(1, 4, 1))
    with pytest.raises(InputError) as info:
        TaskModel(host, LinearHead(2), settings)
    assert message in str(info.value) and "\n" not in str(info.value)


def test_the_default_width_of_a_compacter_is_a_multiple_of_its_factor():
    host = ConvolutionNetwork(10, 48, dilations=(1,))
    assert Bottleneck().for_host(host).width == 6
    assert Compacter().for_host(host).width == 8
