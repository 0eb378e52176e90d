"""The attention network: its mathematics in NumPy, its pieces, and what its blocks keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.network.attention import AttentionNetwork
from keras_peterrec.network.attention_block import AttentionBlock
from keras_peterrec.network.network import BRANCH, LINEAR, NORM

CHANNELS, HEADS, WINDOW = 6, 2, 4
draw = np.random.default_rng(0)


def filled(layer, seed=0):
    random = np.random.default_rng(seed)
    for weight in layer.trainable_weights:
        weight.assign(random.normal(0.1, 0.5, weight.shape))
    return layer


def made(causal=True):
    block = AttentionBlock(HEADS, WINDOW, causal)
    block.build((None, None, CHANNELS))
    return filled(block)


CAUSAL, BOTH_SIDES = made(), made(causal=False)


def silu(x):
    return x / (1 + np.exp(-x))


def normalized(x, norm):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * np.asarray(norm.gamma) + np.asarray(norm.beta)


def projected(block, x):
    layer = block.projection
    wide = normalized(x, block.norm_1) @ np.asarray(layer.kernel) + np.asarray(layer.bias)
    return np.split(silu(wide), 4, axis=-1)


def reference(block, x, ids, real=None):
    """Position by position, head by head."""
    gate, value, query, key = projected(block, x)
    bias, size = np.asarray(block.distance_bias), CHANNELS // HEADS
    real = np.ones(len(x)) if real is None else real
    attended = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            back = i - j
            hidden = back < 0 if block.causal else False
            if hidden or abs(back) >= WINDOW or ids[i] != ids[j] or not real[j]:
                continue
            for head in range(HEADS):
                some = slice(head * size, (head + 1) * size)
                at = back if block.causal else back + WINDOW - 1
                score = query[i, some] @ key[j, some] / np.sqrt(size) + bias[head, at]
                attended[i, some] += silu(score) * value[j, some]
    gated = normalized(attended, block.norm_2) * gate
    layer = block.output_map
    branch = gated @ np.asarray(layer.kernel) + np.asarray(layer.bias)
    return x + branch * real[:, None]


@settings(max_examples=12, deadline=None)
@given(st.booleans(), st.integers(1, 14), st.integers(0, 99))
def test_a_block_is_its_formula_within_and_beyond_a_window(causal, length, seed):
    """Longer rows are cut into pieces, which leaves nothing out and adds nothing."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(2, length, CHANNELS)).astype("float32")
    ids = np.sort(random.integers(0, 3, (2, length)), axis=1).astype("int32")
    real = (random.random((2, length)) < 0.8).astype("float32")
    block = CAUSAL if causal else BOTH_SIDES
    found = np.asarray(block(x, real[..., None], ids))
    for row in range(2):
        expected = reference(block, x[row], ids[row], real[row])
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


@pytest.mark.parametrize("length", [3, 11])
def test_a_token_sees_what_comes_before_its_position_and_itself(length):
    x = draw.normal(size=(1, length, CHANNELS)).astype("float32")
    tokens = draw.normal(size=(1, length, CHANNELS)).astype("float32")
    ids = np.array([[0] * 2 + [1] * (length - 2)], "int32")
    mask = np.ones((1, length, 1), "float32")
    sequence, beside = CAUSAL.with_tokens(x, tokens, mask, ids)
    np.testing.assert_allclose(sequence, CAUSAL(x, mask, ids), atol=1e-5)
    for place in range(length):
        row = np.concatenate([x[0, :place], tokens[0, place : place + 1]])
        expected = reference(CAUSAL, row, ids[0, : place + 1])[-1]
        np.testing.assert_allclose(beside[0, place], expected, atol=1e-4)


def test_events_a_few_at_a_time_are_the_whole_row():
    network = filled(AttentionNetwork(30, CHANNELS, blocks=2, heads=HEADS, window=WINDOW))
    ids = draw.integers(4, 30, (2, 13))
    expected = np.asarray(network(ids))
    memory, start = np.zeros((2, network.state_rows, CHANNELS), "float32"), 0
    for count in (1, 5, 2, 1, 4):
        vectors = network.embed(ids[:, start : start + count])
        states, memory = network.advance(memory, vectors, count)
        found = network.finish(states)
        np.testing.assert_allclose(found, expected[:, start : start + count], atol=1e-4)
        start += count
    # Positions that are not kept answer, and leave the memory as it was.
    states, same = network.advance(memory, network.embed(ids[:, :2]), 0)
    np.testing.assert_array_equal(same, memory)


def test_a_state_depends_on_as_many_events_as_the_network_says():
    network = filled(AttentionNetwork(30, CHANNELS, blocks=2, heads=HEADS, window=WINDOW))
    ids, seen = draw.integers(4, 30, (1, 12)), network.receptive_field
    last = lambda ids: np.asarray(network(ids))[0, -1]
    earlier, earliest = ids.copy(), ids.copy()
    earlier[0, -seen - 1] = 29 if ids[0, -seen - 1] != 29 else 28
    earliest[0, -seen] = 29 if ids[0, -seen] != 29 else 28
    np.testing.assert_allclose(last(earlier), last(ids), atol=1e-6)
    assert seen == 7 and np.abs(last(earliest) - last(ids)).max() > 1e-5


def test_its_sites_say_what_patches_read_there():
    network = AttentionNetwork(30, CHANNELS, blocks=2, heads=HEADS, window=WINDOW)
    sites = network.sites["block_2"]
    kinds = [site.kind for site in sites.values()]
    assert kinds.count(NORM) == 2 and kinds.count(LINEAR) == 2 and kinds.count(BRANCH) == 1
    assert sites["projection"].outputs == 4 * CHANNELS and sites["output"].outputs == CHANNELS
    for name, site in sites.items():
        if site.kind == LINEAR:
            shape = network.foldable("block_2", name)["kernel"].shape
            assert shape == (site.seen, site.outputs)
    last = network.last_weights(1)
    assert last and all("block_2" in weight.path for weight in last)
    assert len(network.last_weights(2)) == 2 * len(last)


def test_heads_divide_the_channels_and_a_window_has_others():
    with pytest.raises(InputError, match="`hidden_dim` should be a multiple of `heads` = 4. Rece"):
        AttentionNetwork(30, 6, heads=4)
    with pytest.raises(InputError, match="`hidden_dim` should be a positive integer. Rec.* = None"):
        AttentionNetwork(30, None)
    with pytest.raises(InputError, match="`window` should be at least 2.* Received: `window` = 1"):
        AttentionNetwork(30, 8, window=1)
    twin = AttentionNetwork.from_config(AttentionNetwork(30, 8, heads=4, window=9).get_config())
    assert (twin.heads, twin.window, len(twin.blocks)) == (4, 9, 4)
