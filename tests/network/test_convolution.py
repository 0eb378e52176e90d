"""The backbone: against plain loops, inert padding, who sees whom, on disk."""

import shutil

import keras
import numpy as np
import numpy_reference as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.network.convolution import ConvolutionNetwork

ITEMS = 12


def make(causal=True, dilations=(1, 4), **arguments):
    backbone = ConvolutionNetwork(
        ITEMS, hidden_dim=6, dilations=dilations, causal=causal, **arguments
    )
    return reference.randomise(backbone, seed=2)


BACKBONES = {causal: make(causal) for causal in (True, False)}
both = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def states_of(backbone, ids, **arguments):
    return keras.ops.convert_to_numpy(backbone(np.asarray(ids, "int32"), **arguments))


@both
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_is_the_formula(causal, kernel_size):
    backbone = make(causal, dilations=(1, 4, 2), kernel_size=kernel_size)
    ids = np.array([[0, 0, 0, 5, 4, 1, 11], [7, 7, 3, 2, 9, 4, 5], [0, 0, 0, 0, 0, 0, 0]])
    expected = reference.backbone(
        ids,
        reference.numbers(backbone.item_embedding.embeddings),
        [reference.block_weights(block) for block in backbone.blocks],
        (1, 4, 2),
        causal,
        reference.final_norm_weights(backbone),
    )
    np.testing.assert_allclose(states_of(backbone, ids), expected, atol=5e-4)


@both
@settings(max_examples=8, deadline=None)
@given(
    history=st.lists(st.integers(1, ITEMS - 1), min_size=1, max_size=9),
    padding=st.integers(1, 40),
)
def test_padding_is_inert(causal, history, padding):
    states = states_of(BACKBONES[causal], [history])
    padded = states_of(BACKBONES[causal], [[0] * padding + history])
    np.testing.assert_allclose(padded[:, padding:], states, atol=1e-5, rtol=1e-5)
    assert not padded[:, :padding].any()


@both
def test_rows_of_a_batch_do_not_touch(causal):
    ids = np.array([[0, 0, 4, 5], [6, 7, 8, 9]])
    together = states_of(BACKBONES[causal], ids)
    alone = np.concatenate([states_of(BACKBONES[causal], ids[n : n + 1]) for n in (0, 1)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_causal_state_knows_no_future(data):
    ids = np.array(data.draw(st.lists(st.integers(1, 11), min_size=8, max_size=8)))
    at = data.draw(st.integers(1, 7))
    changed = ids.copy()
    changed[at:] = data.draw(st.lists(st.integers(0, 11), min_size=8 - at, max_size=8 - at))
    before = states_of(BACKBONES[True], [ids])[:, :at]
    np.testing.assert_array_equal(states_of(BACKBONES[True], [changed])[:, :at], before)


def reached(backbone, length, at):
    """Positions whose state the id at `at` has a part in."""
    ids = np.full((1, length), 5)
    changed = ids.copy()
    changed[0, at] = 8
    difference = np.abs(states_of(backbone, changed) - states_of(backbone, ids)).max(axis=(0, 2))
    return np.flatnonzero(difference)


# Some branches are switched off by a ReLU: random numbers over many channels
# make it certain that the farthest tap is heard.
def wide(causal, dilations, kernel_size=3):
    backbone = ConvolutionNetwork(
        ITEMS, hidden_dim=32, dilations=dilations, kernel_size=kernel_size, causal=causal
    )
    return reference.randomise(backbone, seed=4)


@pytest.mark.parametrize("dilations, kernel_size", [((1,), 3), ((1, 4), 3), ((2, 1), 5)])
def test_receptive_field_is_exact(dilations, kernel_size):
    causal = wide(True, dilations, kernel_size)
    field = causal.receptive_field
    assert field == 1 + (kernel_size - 1) * sum(d + 2 * d for d in dilations)
    positions = reached(causal, length=2 * field, at=3)
    assert (positions.min(), positions.max()) == (3, 3 + field - 1)
    both_sides = wide(False, dilations, kernel_size)
    positions = reached(both_sides, length=2 * field, at=field)
    half = (field - 1) // 2
    assert (positions.min(), positions.max()) == (field - half, field + half)


@both
def test_embeds_the_special_ids_but_padding(causal):
    ids = np.array([[1, 4, 5]])
    plain = states_of(BACKBONES[causal], ids)
    for special in (2, 3):
        ids[0, 0] = special
        assert np.abs(states_of(BACKBONES[causal], ids) - plain).max() > 1e-3


@both
def test_survives_the_disk_with_its_config(causal, tmp_path):
    backbone = make(causal, dropout=0.25, kernel_size=5)
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert type(loaded) is ConvolutionNetwork
    assert loaded.get_config() == backbone.get_config()
    ids = [[0, 4, 5, 6, 7]]
    np.testing.assert_array_equal(states_of(loaded, ids), states_of(backbone, ids))


def test_a_copy_shares_nothing():
    backbone = make()
    twin = backbone.copy()
    ids = [[4, 5, 6]]
    before = states_of(backbone, ids)
    np.testing.assert_array_equal(states_of(twin, ids), before)
    reference.randomise(twin, seed=9)
    np.testing.assert_array_equal(states_of(backbone, ids), before)


def test_dropout_acts_in_training_only():
    backbone = make(dropout=0.5)
    ids = [[4, 5, 6, 7]]
    np.testing.assert_array_equal(states_of(backbone, ids), states_of(backbone, ids))
    trained = states_of(backbone, ids, training=True)
    assert np.abs(trained - states_of(backbone, ids)).max() > 1e-3


def test_half_precision_states_are_close():
    half = make(dtype="mixed_bfloat16")
    states = states_of(half, [[0, 4, 5, 6, 7]]).astype("float32")
    assert "bfloat16" in str(half.output.dtype)
    full = states_of(make(), [[0, 4, 5, 6, 7]])
    assert np.abs(states - full).max() < 0.15 * np.abs(full).max()
    assert not states[:, 0].any()


@both
def test_long_histories_work(causal):
    states = states_of(BACKBONES[causal], np.full((1, 4096), 5))
    assert states.shape == (1, 4096, 6)
    assert np.isfinite(states).all()


def test_the_paper_scale_has_16_convolutions():
    backbone = ConvolutionNetwork(5, hidden_dim=4)
    rates = [c.dilation_rate for block in backbone.blocks for c in block.convolutions]
    assert rates == [1, 2, 4, 8] * 4
    assert backbone.receptive_field == 121


def test_summary_reads_from_top_to_bottom():
    lines = []
    make().summary(print_fn=lambda text, **_: lines.append(text), line_length=100)
    text = "\n".join(lines)
    places = [
        text.index(name)
        for name in ("history", "item_embedding", "embedding_dropout", "block_1", "block_2")
    ]
    assert places == sorted(places)
    assert f"{make().count_params():,}" in text


def test_can_be_plotted(tmp_path):
    pytest.importorskip("pydot")
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    keras.utils.plot_model(make(), tmp_path / "backbone.dot", show_shapes=True)
    text = (tmp_path / "backbone.dot").read_text()
    assert "block_1" in text and "item_embedding" in text


@pytest.mark.parametrize(
    "name, value",
    [
        ("vocabulary_size", 0),
        ("vocabulary_size", 10.0),
        ("hidden_dim", 0),
        ("hidden_dim", "64"),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("kernel_size", 4),
    ],
)
def test_refuses_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` .*Received: `{name}` = {value!r}"):
        ConvolutionNetwork(
            **{"vocabulary_size": 10, "hidden_dim": 4, "dilations": (1,), name: value}
        )
