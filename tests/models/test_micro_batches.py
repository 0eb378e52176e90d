"""The training step in micro-batches against Keras' own step on the whole batch."""

import keras
import numpy as np
import pytest
from slow_cases import slow

if keras.backend.backend() != "tensorflow":
    pytest.skip("the step is TensorFlow's", allow_module_level=True)

import tensorflow as tf

from keras_peterrec.models import micro_batches
from keras_peterrec.models.micro_batches import micro_batch_count
from keras_peterrec.models.pretrainer import CausalPretrainer, MaskedPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork

ITEMS, CHANNELS = 60, 8


class PlainStep:
    """The same model with Keras' own training step."""

    def train_step(self, data):
        return keras.Model.train_step(self, data)


class PlainCausal(PlainStep, CausalPretrainer):
    pass


class PlainMasked(PlainStep, MaskedPretrainer):
    pass


def make_model(kind, causal=True, dtype=None, optimizer=None, eagerly=True, **arguments):
    """A model that steps as Python does, for a single step, or as a graph."""
    keras.utils.set_random_seed(3)
    backbone = ConvolutionNetwork(ITEMS + 4, CHANNELS, (1,), causal=causal, dtype=dtype)
    model = kind(backbone, **{"seed": 5, "label_smoothing": 0.0, **arguments})
    optimizer = optimizer or keras.optimizers.SGD(0.5)
    model.compile(optimizer, jit_compile=False, run_eagerly=eagerly)
    return model


def make_batch(rows=6, width=24, seed=0):
    rng = np.random.default_rng(seed)
    history = rng.integers(0, ITEMS + 4, (rows, width)).astype("int32")
    targets = np.where(rng.random(history.shape) < 0.8, history[:, ::-1], 0).astype("int32")
    targets[-2:] = 0  # rows of padding
    return tf.constant(history), tf.constant(targets)


@pytest.fixture
def three_micro_batches(monkeypatch):
    values = "keras_peterrec.models.micro_batches.cached_values"
    monkeypatch.setattr(values, lambda: 2 * 24 * CHANNELS)


@pytest.mark.parametrize(
    "causal, tied, negatives, eagerly",
    [
        (True, True, 0, True),
        (True, True, 30, False),
        pytest.param(True, False, 0, True, marks=pytest.mark.slow),
        pytest.param(True, False, 30, True, marks=pytest.mark.slow),
        (False, True, 30, True),
    ],
)
def test_equals_the_plain_step(causal, tied, negatives, eagerly, three_micro_batches):
    plain_kind = PlainCausal if causal else PlainMasked
    kind = CausalPretrainer if causal else MaskedPretrainer
    plain, ours = (
        make_model(k, causal, tied=tied, negatives=negatives, eagerly=way)
        for k, way in ((plain_kind, True), (kind, eagerly))
    )
    for seed in range(1 if eagerly else 2):  # a graph steps again
        batch = make_batch(seed=seed)
        losses = [float(model.train_on_batch(*batch)) for model in (plain, ours)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for wanted, found in zip(plain.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("negatives, whole_rows", [(30, False), *slow((0, True))])
def test_weights_of_samples_weigh_the_losses(negatives, whole_rows, three_micro_batches):
    history, targets = make_batch()
    weights = np.random.default_rng(1).uniform(0, 3, targets.shape).astype("float32")
    weights = weights[:, 0] if whole_rows else weights
    plain, ours, unweighted, ones = (
        make_model(kind, negatives=negatives, tied=False)
        for kind in (PlainCausal, CausalPretrainer, CausalPretrainer, CausalPretrainer)
    )
    losses = [float(m.train_on_batch(history, targets, weights)) for m in (plain, ours)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for wanted, found in zip(plain.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)
    # What each target adds is weighed, and the number of targets stays the divisor.
    unweighted.train_on_batch(history, targets)
    ones.train_on_batch(history, targets, np.ones_like(weights))
    for wanted, found in zip(unweighted.get_weights(), ones.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert not np.allclose(ours.get_weights()[0], ones.get_weights()[0], atol=1e-5)


def test_targets_of_weight_zero_teach_nothing(three_micro_batches):
    history, targets = make_batch()
    half = np.random.default_rng(2).random(targets.shape) < 0.5
    counted = lambda kept: float(np.sum(kept >= 4))
    kept = np.where(half, targets, 0)
    weighted, dropped = (make_model(CausalPretrainer, negatives=0) for _ in range(2))
    scale = counted(targets.numpy()) / counted(kept)
    weighted.train_on_batch(history, targets, half.astype("float32") * scale)
    dropped.train_on_batch(history, kept)
    for wanted, found in zip(dropped.get_weights(), weighted.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_label_smoothing_reaches_the_step(three_micro_batches):
    models = [make_model(k, label_smoothing=0.2) for k in (PlainCausal, CausalPretrainer)]
    losses = [float(model.train_on_batch(*make_batch())) for model in models]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_compiled_equals_eager_and_is_traced_once(three_micro_batches):
    # The full softmax: XLA draws other negatives from the same seed.
    eager, compiled = (make_model(CausalPretrainer, tied=False, negatives=0) for _ in range(2))
    compiled.compile(keras.optimizers.SGD(0.5), jit_compile=True)
    compiled.optimizer.build(compiled.trainable_variables)
    traces = []
    states = compiled.backbone.states
    compiled.backbone.states = lambda *a, **k: (traces.append(1), states(*a, **k))[1]
    batches = [make_batch(seed=seed) for seed in range(2)]
    dataset = tf.data.Dataset.from_tensor_slices(tuple(map(tf.stack, zip(*batches))))
    compiled.fit(dataset, verbose=0, shuffle=False)
    for batch in batches:
        eager.train_on_batch(*batch)
    for wanted, found in zip(eager.get_weights(), compiled.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert len(traces) == 1


class Recorder(keras.optimizers.SGD):
    """Remembers the gradients it was given."""

    def apply(self, grads, trainable_variables=None):
        self.seen = list(grads)
        return super().apply(grads, trainable_variables)


@pytest.mark.parametrize("tied", [True, False])
def test_tables_get_the_rows_of_the_step_alone(tied, three_micro_batches):
    recorder = Recorder(0.1)
    model = make_model(CausalPretrainer, tied=tied, negatives=10, optimizer=recorder)
    history, targets = make_batch()
    model.train_on_batch(history, targets)
    slices = [g for g in recorder.seen if isinstance(g, tf.IndexedSlices)]
    assert len(slices) == (1 if tied else 2)
    read = sum(int(tf.size(g.indices)) for g in slices)
    assert read == 2 * history.shape[0] * history.shape[1] + 10
    assert all(tf.reduce_min(g.indices) >= 0 for g in slices)


def test_what_is_frozen_stays(three_micro_batches):
    model = make_model(CausalPretrainer, tied=False, negatives=10)
    model.backbone.item_embedding.trainable = False
    model.backbone.blocks[0].trainable = False
    model.compile(keras.optimizers.SGD(0.5), run_eagerly=True)
    before = [w.numpy() for w in model.backbone.weights]
    head = model.output_table.embeddings.numpy()
    model.train_on_batch(*make_batch())
    same = [np.array_equal(a, w.numpy()) for a, w in zip(before, model.backbone.weights)]
    frozen = [not w.trainable for w in model.backbone.weights]
    assert same == frozen and True in frozen and False in frozen
    assert not np.array_equal(head, model.output_table.embeddings.numpy())


@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_mixed_precision_learns(policy, three_micro_batches):
    optimizer = keras.optimizers.Adam(0.01)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = make_model(
        CausalPretrainer,
        dtype=policy,
        tied=False,
        negatives=30,
        optimizer=optimizer,
        eagerly=False,
    )
    batch = make_batch()
    losses = [float(model.train_on_batch(*batch)) for _ in range(15)]
    assert losses[-1] < losses[0] - 0.2
    assert all(w.dtype == "float32" for w in model.trainable_variables)


@pytest.mark.parametrize("size, tokens", [("512K", 1_600), ("1024K", 3_200), ("?", 1_600)])
def test_the_caches_decide_on_the_size(size, tokens, monkeypatch, tmp_path):
    (tmp_path / "size").write_text(f"{size}\n")
    monkeypatch.setattr(micro_batches, "CACHE", tmp_path / "size")
    assert micro_batches.cached_values.__wrapped__() == tokens * 64


def test_a_batch_is_cut_where_that_keeps_it_in_the_caches(monkeypatch):
    monkeypatch.setattr(micro_batches, "cached_values", lambda: 1_600 * 64)
    assert micro_batch_count(4, 1_600, 64) == 4
    assert micro_batch_count(128, 50, 64) == 4
    assert micro_batch_count(1, 6_400, 64) == 1  # rows are not cut
    assert micro_batch_count(16, 100, 64) == 1
    assert micro_batch_count(7, 1_600, 64) == 7
    assert micro_batch_count(None, None, 64) == 1
