"""The last state alone: what most answers ask for, computed without the states nobody asks for."""

import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.network.attention import AttentionNetwork
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.transfer.patched_host import PatchedHost

NETWORKS = {
    "convolution": lambda **more: ConvolutionNetwork(30, 8, dilations=(1, 2, 1), **more),
    "attention": lambda **more: AttentionNetwork(30, 8, blocks=3, window=6, **more),
}
# Shorter than a block sees, within what all of them see, and longer than that.
LENGTHS = 1, 4, 11, 40


@pytest.fixture(params=NETWORKS)
def make_network(request):
    return NETWORKS[request.param]


def histories(length, seed=0):
    """Rows with more and less padding on the left; the first has nothing else."""
    ids = np.random.default_rng(seed).integers(4, 30, [5, length]).astype("int32")
    for row, padding in enumerate((length, length // 2, 1, 0, 0)):
        ids[row, :padding] = 0
    return ids


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_the_last_of_all_states(make_network, length, causal):
    network = make_network(causal=causal)
    expected = np.asarray(network(histories(length)))[:, -1]
    found = np.asarray(network.last_state(histories(length)))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert not found[0].any() and found[-1].any()


def test_in_a_graph_that_does_not_know_the_length(make_network):
    network = make_network()
    signature = [tf.TensorSpec([None, None], tf.int32)]
    last = tf.function(lambda ids: network.last_state(ids), input_signature=signature)
    for length in LENGTHS:
        expected = np.asarray(network.last_state(histories(length)))
        np.testing.assert_allclose(last(histories(length)), expected, atol=2e-6)


@pytest.mark.parametrize("patch", ["bottleneck:4", "lora:2", "norm", "ia3"])
@pytest.mark.parametrize("length", LENGTHS)
def test_patches_act_as_where_all_states_are_computed(make_network, patch, length):
    network = make_network()
    patched = PatchedHost(network, get_patch(patch))
    patched.build(None)
    rng = np.random.default_rng(1)
    for layer in patched.patch_layers:
        for weight in layer.weights:
            weight.assign(rng.normal(0, 0.3, weight.shape))
    ids = histories(length)
    mask = network.padding_mask_layer(ids)
    states, mask, _ = patched.task_token(patched.embed(ids) * mask, mask)
    expected = network.finish(network.run(states, mask, None, patched.patches))[:, -1]
    np.testing.assert_allclose(patched(ids), expected, atol=5e-6)


def test_states_that_nobody_sees_are_not_computed(make_network, monkeypatch):
    network, computed = make_network(), []
    block_class = type(network.blocks[0])
    call = block_class.call

    def watched(self, *args, **kwargs):
        outputs = call(self, *args, **kwargs)
        computed.append(outputs.shape[1])
        return outputs

    monkeypatch.setattr(block_class, "call", watched)
    network.last_state(histories(40))
    reaches = [block.reach for block in network.blocks]
    assert computed == [1 + reaches[1] + reaches[2], 1 + reaches[2], 1]
