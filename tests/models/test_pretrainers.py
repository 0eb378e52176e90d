"""Pretraining: what is counted, what is asked, and that it learns."""

import os
import subprocess
import sys

import keras
import numpy as np
import numpy_reference as reference
import pytest
from autodiff import value_and_gradients
from slow_cases import slow

from keras_peterrec.models.pretrainer import CausalPretrainer, MaskedPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork

VOCABULARY = 16  # four special ids and twelve items
MASK = 2
KINDS = {"causal": CausalPretrainer, "masked": MaskedPretrainer}
each = pytest.mark.parametrize("kind", KINDS)


def make(kind, hidden_dim=8, dilations=(1,), vocabulary_size=VOCABULARY, **arguments):
    backbone = ConvolutionNetwork(vocabulary_size, hidden_dim, dilations, causal=kind == "causal")
    return KINDS[kind](backbone, **arguments)


def loss_of(pretrainer, targets, states):
    return float(pretrainer.compute_loss(y=np.asarray(targets), y_pred=np.asarray(states)))


@pytest.fixture
def states():
    return np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")


@each
@pytest.mark.parametrize("tied", [True, False])
def test_loss_is_the_cross_entropy_of_the_counted_positions(kind, tied, states):
    pretrainer = reference.randomise(make(kind, tied=tied), seed=1)
    targets = np.array([[0, 0, 4, 15, 7], [1, 2, 3, 9, 0]])  # only items are counted
    table = reference.numbers(
        pretrainer.backbone.item_embedding.embeddings[4:]
        if tied
        else pretrainer.output_table.embeddings
    )
    where = [(0, 2), (0, 3), (0, 4), (1, 3)]
    expected = reference.full_softmax_loss(
        [states[place].astype("float64") for place in where],
        [targets[place] - 4 for place in where],
        table,
    ).mean()
    assert loss_of(pretrainer, targets, states) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_spreads_over_all_items(states):
    rate, targets = 0.3, np.full((2, 5), 6)
    pretrainer = make("causal", label_smoothing=rate)
    scores = states.reshape(-1, 8) @ reference.numpy_table(pretrainer).T
    log_probability = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    wanted = np.full(12, rate / 12)
    wanted[2] += 1 - rate
    expected = -(log_probability * wanted).sum(axis=1).mean()
    assert loss_of(pretrainer, targets, states) == pytest.approx(expected, rel=1e-5)


@each
def test_a_batch_without_targets_costs_nothing(kind, states):
    assert loss_of(make(kind), np.zeros((2, 5), "int32"), states) == 0.0
    assert loss_of(make(kind, negatives=5), np.zeros((2, 5), "int32"), states) == 0.0


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sampler", ["log_uniform", "uniform", "in_batch"])
def test_many_negatives_estimate_the_full_softmax(sampler, tied, states):
    targets = np.array([[0, 4, 5, 15, 7], [1, 2, 3, 9, 0]])
    if sampler == "in_batch":  # which knows of no items but the batch's
        states, targets = np.concatenate([states] * 2, 1), np.resize(np.arange(4, 16), (2, 10))
        targets.ravel()[-8:] = np.arange(8, 16)
    counts = np.bincount(targets.ravel(), minlength=16)[4:] if sampler == "in_batch" else None
    pretrainer = make("causal", negatives=50_000, seed=0, sampler=sampler, counts=counts, tied=tied)
    reference.randomise(pretrainer, seed=1)
    full = make("causal", negatives=0, tied=tied)
    full.set_weights([weight for weight in pretrainer.get_weights() if weight.dtype != "uint32"])
    expected = loss_of(full, targets, states)
    assert loss_of(pretrainer, targets, states) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradients_are_those_of_the_mean_cross_entropy(smoothing, jit, states):
    pretrainer = reference.randomise(make("causal", label_smoothing=smoothing), seed=1)
    targets = np.array([[0, 0, 4, 15, 7], [1, 2, 3, 9, 0]])
    table = reference.numpy_table(pretrainer)
    ops = keras.ops

    def plain(states):
        scores = ops.matmul(ops.reshape(states, (10, 8)), table.T.astype("float32"))
        wanted = ops.one_hot(targets.ravel() - 4, 12) * (1 - smoothing) + smoothing / 12
        losses = -ops.sum(wanted * ops.log_softmax(scores), axis=-1)
        return ops.sum(losses * (targets.ravel() >= 4)) / 4

    def ours(states):
        return pretrainer.compute_loss(y=targets, y_pred=states)

    found, wanted = value_and_gradients(ours, states, jit=jit), value_and_gradients(plain, states)
    for ours_part, plain_part in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours_part, plain_part, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients are dense")
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_sampled_loss_reads_only_its_rows_of_the_table(tied, dtype, states):
    import tensorflow as tf

    backbone = ConvolutionNetwork(VOCABULARY, 8, (1,), dtype=dtype)
    pretrainer = CausalPretrainer(backbone, tied=tied, negatives=3)
    embedding = backbone.item_embedding if tied else pretrainer.output_table
    targets = np.array([[0, 0, 4, 15, 7], [1, 2, 3, 9, 0]])
    with tf.GradientTape() as tape:
        loss = pretrainer.compute_loss(y=targets, y_pred=tf.cast(states, backbone.compute_dtype))
    gradient = tape.gradient(loss, embedding.embeddings.value)
    assert loss.dtype == "float32"
    assert isinstance(gradient, tf.IndexedSlices)
    assert len(gradient.values) == 10 + 3
    first = 4 if tied else 0
    assert gradient.indices.numpy().min() >= first
    assert {0, 11, 3, 5} <= set(gradient.indices.numpy() - first)


@pytest.mark.parametrize(
    "items, negatives, sampled",
    [(20_000, None, None), (20_001, None, 1000), (20_001, 0, None), (12, 5, 5)],
)
def test_samples_only_in_large_catalogues_or_when_told(items, negatives, sampled):
    pretrainer = make("causal", vocabulary_size=items + 4, hidden_dim=1, negatives=negatives)
    layer = pretrainer.sampled_softmax
    assert (layer and (layer.items, layer.negatives)) == (sampled and (items, sampled))


def test_a_causal_query_is_the_history_and_never_empty():
    history = np.array([[0, 0, 7], [4, 5, 6], [0, 0, 0]], "int32")
    asked = np.asarray(make("causal").query_ids(history))
    assert asked.tolist() == [[0, 0, 7], [4, 5, 6], [0, 0, 1]]


def test_a_masked_query_has_a_mask_at_the_end():
    history = np.array([[0, 0, 7], [0, 0, 0]], "int32")
    asked = np.asarray(make("masked").query_ids(history))
    assert asked.tolist() == [[0, 0, 7, MASK], [0, 0, 0, MASK]]


@each
def test_answers_are_scores_of_items_only(kind):
    pretrainer = reference.randomise(make(kind), seed=1)
    history = np.array([[0, 4, 9], [0, 0, 0]])
    scores = np.asarray(pretrainer.next_item_scores(history))
    assert scores.shape == (2, VOCABULARY - 4)
    assert np.isfinite(scores).all()
    asked = pretrainer.query_ids(history.astype("int32"))
    last = np.asarray(pretrainer.backbone(asked))[:, -1]
    np.testing.assert_allclose(np.asarray(pretrainer.user_states(history)), last, atol=1e-6)
    expected = [[sum(state * row) for row in reference.numpy_table(pretrainer)] for state in last]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


@each
def test_an_answer_does_not_depend_on_padding(kind):
    pretrainer = reference.randomise(make(kind, dilations=(1, 4)), seed=1)
    short = np.asarray(pretrainer.next_item_scores(np.array([[4, 9]])))
    long = np.asarray(pretrainer.next_item_scores(np.array([[0] * 11 + [4, 9]])))
    np.testing.assert_allclose(short, long, rtol=1e-4, atol=1e-4)


def test_refuses_a_backbone_of_the_other_kind():
    with pytest.raises(ValueError, match="`backbone` should be causal"):
        CausalPretrainer(ConvolutionNetwork(10, 4, (1,), causal=False))
    with pytest.raises(ValueError, match="`backbone` should be bidirectional"):
        MaskedPretrainer(ConvolutionNetwork(10, 4, (1,), causal=True))


@pytest.mark.parametrize(
    "kind, arguments",
    [
        ("causal", {"tied": False, "label_smoothing": 0.1}),
        ("masked", {"negatives": 5, "seed": 3}),
        ("causal", {"negatives": 5, "sampler": "in_batch", "counts": [9] * 6 + [2] * 6}),
        *slow(
            ("causal", {"tied": False, "negatives": 5, "sampler": "uniform"}),
            ("masked", {"tied": False}),
        ),
    ],
)
def test_survives_the_disk_and_trains_on(kind, arguments, tmp_path):
    pretrainer = make(kind, **arguments)
    pretrainer.compile("adam", jit_compile=False, run_eagerly=True)
    x = np.array([[0, 4, 5], [6, 7, 8]])
    pretrainer.fit(x, x, verbose=0)
    pretrainer.save(tmp_path / "pretrainer.keras")
    loaded = keras.saving.load_model(tmp_path / "pretrainer.keras")
    assert type(loaded) is KINDS[kind]
    one, other = loaded.get_config(), pretrainer.get_config()
    assert one.pop("backbone")["config"] == other.pop("backbone")["config"]
    assert one == other
    np.testing.assert_array_equal(
        np.asarray(loaded.next_item_scores(x)), np.asarray(pretrainer.next_item_scores(x))
    )
    assert np.isfinite(loaded.fit(x, x, verbose=0).history["loss"][0])


def counting_up(rows=64, length=8, seed=0):
    """Rows 4, 5, 6, ... from anywhere, round and round."""
    starts = np.random.default_rng(seed).integers(0, 12, (rows, 1))
    return 4 + (starts + np.arange(length + 1)) % 12


@pytest.mark.parametrize("negatives", [0, *slow(20)])
def test_a_causal_pretrainer_learns_what_comes_next(negatives):
    keras.utils.set_random_seed(0)
    pretrainer = make("causal", hidden_dim=16, negatives=negatives, seed=0)
    pretrainer.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    rows = counting_up()
    losses = pretrainer.fit(rows[:, :-1], rows[:, 1:], batch_size=16, epochs=15, verbose=0).history[
        "loss"
    ]
    assert losses[-1] < 0.2 * losses[0]
    fresh = counting_up(seed=1)
    best = np.asarray(pretrainer.next_item_scores(fresh[:, :-1])).argmax(axis=1) + 4
    assert (best == fresh[:, -1]).mean() > 0.98


def test_a_masked_pretrainer_learns_what_is_hidden():
    keras.utils.set_random_seed(0)
    pretrainer = make("masked", hidden_dim=16)
    pretrainer.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    rows = counting_up(256)
    hidden = np.random.default_rng(2).random(rows.shape) < 0.3
    hidden[:, -1] |= np.arange(len(rows)) % 2 == 0
    x, y = np.where(hidden, MASK, rows), np.where(hidden, rows, 0)
    losses = pretrainer.fit(x, y, batch_size=32, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    fresh = counting_up(seed=1)
    best = np.asarray(pretrainer.next_item_scores(fresh[:, :-1])).argmax(axis=1) + 4
    assert (best == fresh[:, -1]).mean() > 0.9


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # importing it raises
import numpy as np
import keras_peterrec as kp
host = kp.ConvolutionNetwork(16, 8, (1, 4))
history = np.array([[0, 4, 9]])
assert kp.CausalPretrainer(host).next_item_scores(history).shape == (1, 12)
task = kp.build_task(host, kp.LinearHead(3), "patch", "lora:2+bottleneck:2")
before = [np.asarray(weight) for weight in host.weights]
task.compile("adam", loss="mse")
task.fit(history, np.ones((1, 3)), verbose=0)
assert all((a == np.asarray(b)).all() for a, b in zip(before, host.weights))
"""


def test_works_on_jax_where_tensorflow_cannot_be_imported():
    pytest.importorskip("jax")
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
