"""PaddingMask and SequenceIds: padding changes nothing, and rows can hold several sequences."""

import keras
import numpy as np
import numpy_reference as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.layers.padding import PaddingMask, SequenceIds
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.network.dilated_convolution import DilatedConvolution


def test_the_mask_is_one_at_real_positions_only():
    mask = PaddingMask()(np.array([[0, 0, 1, 4], [2, 3, 5, 9]]))
    assert keras.ops.convert_to_numpy(mask)[..., 0].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert mask.shape == (2, 4, 1)


def test_padding_starts_the_next_sequence():
    ids = np.array([[0, 0, 7, 5, 0, 9], [4, 5, 6, 0, 0, 8]])
    numbers = keras.ops.convert_to_numpy(SequenceIds()(ids))
    assert numbers.tolist() == [[1, 2, 2, 2, 3, 3], [0, 0, 0, 1, 2, 2]]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_a_convolution_reads_its_own_sequence_only(dilation, causal):
    layer = DilatedConvolution(4, dilation_rate=dilation, causal=causal)
    layer.build((None, None, 4))
    reference.randomise(layer)
    parts = [np.random.default_rng(n).normal(size=(1, n, 4)).astype("float32") for n in (3, 1, 8)]
    alone = [keras.ops.convert_to_numpy(layer(part)) for part in parts]
    numbers = np.repeat([[0, 1, 2]], [3, 1, 8], axis=1).astype("int32")
    together = keras.ops.convert_to_numpy(layer(np.concatenate(parts, axis=1), numbers))
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1), atol=1e-5)


BACKBONES = {
    causal: reference.randomise(
        ConvolutionNetwork(30, 4, (1, 4), causal=causal, name=f"causal_{causal}")
    )
    for causal in (True, False)
}


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.lists(st.integers(1, 29), min_size=1, max_size=12), min_size=1, max_size=5),
    st.lists(st.integers(1, 3), min_size=6, max_size=6),
    st.booleans(),
)
def test_packed_sequences_have_the_same_states_as_alone(sequences, gaps, causal):
    backbone = BACKBONES[causal]
    row, places = [], []
    for gap, sequence in zip(gaps, sequences):
        row += [0] * gap
        places.append(slice(len(row), len(row) + len(sequence)))
        row += sequence
    packed = keras.ops.convert_to_numpy(backbone(np.array([row + [0]])))
    for place, sequence in zip(places, sequences):
        alone = keras.ops.convert_to_numpy(backbone(np.array([sequence])))
        np.testing.assert_allclose(packed[:, place], alone, atol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_one_padded_sequence_needs_no_sequence_ids(causal):
    backbone = BACKBONES[causal]
    history = np.array([[0, 0, 5, 9, 1, 17], [3, 4, 5, 6, 7, 8]])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(backbone.states(history, packed=False)),
        keras.ops.convert_to_numpy(backbone(history)),
        atol=1e-6,
    )
