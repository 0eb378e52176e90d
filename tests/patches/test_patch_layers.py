"""Each patch layer against plain loops, and what folds into the layer before it."""

import keras
import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.network.dilated_convolution import Taps
from keras_peterrec.network.network import LINEAR
from keras_peterrec.patches.affine import AffinePatch
from keras_peterrec.patches.bottleneck import BottleneckPatch
from keras_peterrec.patches.compacter import CompacterPatch
from keras_peterrec.patches.lora import LoraPatch
from keras_peterrec.patches.stack import StackPatch

CHANNELS = 8
SHAPE = (None, None, CHANNELS)


def built(patch, seed=3):
    patch.build(SHAPE, SHAPE)
    return reference.randomise(patch, seed)


def weights_of(patch):
    return {name: reference.numbers(weight) for name, weight in patch.named_weights().items()}


def run(patch, inputs, outputs, taps=Taps(3, 2, True)):
    seen = lambda: taps.side_by_side(inputs)
    return keras.ops.convert_to_numpy(patch(inputs, outputs, seen=seen))


@pytest.fixture
def values():
    """What a convolution read and what it gave."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, 7, CHANNELS)).astype("float32") for _ in range(2)]


@pytest.mark.parametrize("scale, shift", [(True, True), (True, False), (False, True)])
def test_affine(scale, shift, values):
    patch = built(AffinePatch(scale, shift))
    weights = weights_of(patch)
    assert set(weights) == {name for name, has in (("scale", scale), ("shift", shift)) if has}
    inputs, outputs = values
    expected = np.zeros(outputs.shape)
    for place in np.ndindex(outputs.shape):
        factor = weights["scale"][place[-1]] if scale else 1.0
        expected[place] = outputs[place] * factor + (weights["shift"][place[-1]] if shift else 0.0)
    np.testing.assert_allclose(run(patch, inputs, outputs), expected, atol=1e-6)


def test_affine_of_nothing_is_refused():
    with pytest.raises(ValueError, match="`scale` or `shift` should be True"):
        AffinePatch(scale=False, shift=False)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel_size, dilation", [(3, 1), (3, 2), (5, 1)])
def test_lora_is_a_convolution_of_low_rank(kernel_size, dilation, causal, values):
    patch = built(LoraPatch(2, kernel_size * CHANNELS))
    taps = Taps(kernel_size, dilation, causal)
    inputs, outputs = values
    weights = weights_of(patch)
    down = weights["down_kernel"].reshape(kernel_size, CHANNELS, 2)
    kernel = np.zeros((kernel_size, CHANNELS, CHANNELS))
    for tap, read, wrote, rank in np.ndindex(kernel_size, CHANNELS, CHANNELS, 2):
        kernel[tap, read, wrote] += down[tap, read, rank] * weights["up_kernel"][rank, wrote]
    change = reference.dilated_convolution(
        inputs.astype("float64"), kernel, np.zeros(CHANNELS), dilation, causal
    )
    np.testing.assert_allclose(run(patch, inputs, outputs, taps), outputs + change, atol=1e-4)


@pytest.mark.parametrize("inner_skip", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_compacter_is_a_bottleneck_of_kronecker_products(factor, parallel, inner_skip, values):
    patch = built(CompacterPatch(4, factor, parallel, inner_skip))
    inputs, outputs = values
    weights = weights_of(patch)
    down, up = (
        sum(
            np.kron(
                weights[f"{name}_rule"][i],
                np.outer(weights[f"{name}_rows"][i], weights[f"{name}_columns"][i]),
            )
            for i in range(factor)
        )
        for name in ("down", "up")
    )
    assert down.shape == (CHANNELS, 4) and up.shape == (4, CHANNELS)
    four = down, weights["down_bias"], up, weights["up_bias"]
    read = (inputs if parallel else outputs).astype("float64")
    expected = outputs + reference.bottleneck(read, four, inner_skip)
    np.testing.assert_allclose(run(patch, inputs, outputs), expected, atol=1e-4)


def test_stacked_patches_act_one_after_the_other(values):
    patches = [
        AffinePatch(),
        BottleneckPatch(2, parallel=False),
        LoraPatch(1, 3 * CHANNELS),
        AffinePatch(shift=False),
    ]
    stack = built(StackPatch(patches))
    inputs, outputs = values
    expected = outputs
    for patch in patches:
        expected = run(patch, inputs, expected)
    np.testing.assert_allclose(run(stack, inputs, outputs), expected, atol=1e-6)
    assert list(stack.named_weights())[:3] == ["0/scale", "0/shift", "1/down_kernel"]
    assert stack.fold_kinds == []
    assert StackPatch([AffinePatch(), LoraPatch(1, 3 * CHANNELS)]).fold_kinds == [LINEAR]


@pytest.mark.parametrize(
    "patch",
    [
        AffinePatch(),
        AffinePatch(scale=False),
        AffinePatch(shift=False),
        LoraPatch(2, 3 * CHANNELS),
        StackPatch([AffinePatch(), LoraPatch(2, 3 * CHANNELS), AffinePatch()]),
    ],
    ids=["both", "shift", "scale", "lora", "stack"],
)
def test_folds_into_the_convolution(patch, values):
    built(patch)
    rng = np.random.default_rng(2)
    convolution = {
        "kernel": rng.normal(size=(3, CHANNELS, CHANNELS)),
        "bias": rng.normal(size=CHANNELS),
    }
    inputs = values[0].astype("float64")
    outputs = reference.dilated_convolution(inputs, *convolution.values(), 2, True)
    folded = patch.fold(weights_of(patch), convolution)
    expected = reference.dilated_convolution(inputs, folded["kernel"], folded["bias"], 2, True)
    got = run(patch, values[0], outputs.astype("float32"))
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_folds_into_the_normalisation(values):
    patch = built(AffinePatch())
    rng = np.random.default_rng(2)
    norm = {"gamma": rng.normal(size=CHANNELS), "beta": rng.normal(size=CHANNELS)}
    outputs = reference.layer_norm(values[1].astype("float64"), *norm.values())
    folded = patch.fold(weights_of(patch), norm)
    expected = reference.layer_norm(values[1].astype("float64"), folded["gamma"], folded["beta"])
    got = run(patch, values[0], outputs.astype("float32"))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    "patch",
    [
        AffinePatch(),
        LoraPatch(2, 3 * CHANNELS),
        BottleneckPatch(3),
        CompacterPatch(4, 2),
        StackPatch(
            [AffinePatch(), LoraPatch(2, 3 * CHANNELS), CompacterPatch(4, 2, parallel=False)]
        ),
    ],
    ids=["affine", "lora", "bottleneck", "compacter", "stack"],
)
def test_rows_can_have_weights_of_their_own(patch, values):
    built(patch)
    inputs, outputs = values
    rng = np.random.default_rng(4)
    rows = [
        {name: rng.normal(size=w.shape).astype("float32") for name, w in weights_of(patch).items()}
        for _ in inputs
    ]
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    stacked = {
        name: keras.ops.convert_to_tensor(value[:, np.newaxis] if value.ndim == 2 else value)
        for name, value in stacked.items()
    }
    seen = np.tile(inputs, 3)
    got = keras.ops.convert_to_numpy(patch.apply(stacked, inputs, outputs, lambda: seen))
    for number, row in enumerate(rows):
        one = slice(number, number + 1)
        expected = patch.apply(
            {name: keras.ops.convert_to_tensor(weight) for name, weight in row.items()},
            inputs[one],
            outputs[one],
            lambda one=one: seen[one],
        )
        np.testing.assert_allclose(got[one], keras.ops.convert_to_numpy(expected), atol=1e-4)


@pytest.mark.parametrize("rank", [0, 1.5, "2"])
def test_a_bad_rank_is_refused(rank):
    with pytest.raises(ValueError, match="`rank` should be a positive integer. Received: "):
        LoraPatch(rank, 8)


@pytest.mark.parametrize(
    "factor, part",
    [(0, "be a positive integer"), (1.5, "be a positive integer"), (3, "divide `width`, 4")],
)
def test_a_bad_factor_is_refused(factor, part):
    with pytest.raises(InputError, match=f"`factor` should {part}. Received: `factor` = {factor}"):
        CompacterPatch(4, factor)


def test_a_factor_that_does_not_divide_the_channels_is_refused():
    with pytest.raises(ValueError, match="`factor` should divide the channels, 8"):
        CompacterPatch(3, 3).build(SHAPE, SHAPE)
