"""SampledSoftmax: an estimate of the full softmax from the promised law."""

import keras
import numpy as np
import numpy_reference as reference
import pytest
from autodiff import value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.layers.sampled_softmax import SampledSoftmax

ITEMS = 30
COUNTS = np.arange(ITEMS)[::-1] // 3 + 1
LAWS = {
    "log_uniform": np.array([reference.log_uniform(item, ITEMS) for item in range(ITEMS)]),
    "uniform": np.full(ITEMS, 1 / ITEMS),
    "in_batch": COUNTS / COUNTS.sum(),
}
each = pytest.mark.parametrize("sampler", LAWS)


def make(sampler, negatives, seed=0):
    counts = COUNTS if sampler == "in_batch" else None
    return SampledSoftmax(ITEMS, negatives, seed, sampler, counts)


def example(rows=None, seed=3):
    """States, targets (of which COUNTS are the counts, if all are taken), table."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat(np.arange(ITEMS), COUNTS))[:rows].astype("int32")
    states = rng.normal(0, 0.5, (len(targets), 4)).astype("float32")
    return states, targets, rng.normal(size=(ITEMS, 4)).astype("float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@settings(max_examples=25, deadline=None)
@given(
    sampler=st.sampled_from(sorted(LAWS)),
    targets=st.lists(st.integers(-1, ITEMS - 1), min_size=1, max_size=6),
    drawn=st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
def test_is_the_formula_for_the_negatives_drawn(sampler, targets, drawn, seed):
    targets, drawn = np.array(targets), np.array(drawn)
    states, _, table = example(len(targets), seed)
    layer = make(sampler, len(drawn))
    losses = layer.losses(states, targets, table[targets], drawn, table[drawn])
    counted = targets >= 0
    expected = np.zeros(len(targets))
    expected[counted] = reference.sampled_softmax_loss(
        states[counted].astype("float64"),
        targets[counted],
        table.astype("float64"),
        drawn,
        LAWS[sampler],
    )
    np.testing.assert_allclose(numpy(losses), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@each
def test_gradients_are_the_slopes_of_the_formula(sampler, jit):
    states, targets, table = example(6)
    targets[2] = -1
    drawn = np.array([3, targets[0], 0, 0, 29, 12])
    weights = np.arange(6.0).astype("float32")
    layer = make(sampler, len(drawn))

    def total(states, true_rows, negative_rows):
        losses = layer.losses(states, targets, true_rows, drawn, negative_rows)
        return keras.ops.sum(losses * weights)

    _, d_states, d_true, d_negative = value_and_gradients(
        total, states, table[targets], table[drawn], jit=jit
    )
    d_table = np.zeros_like(table)
    np.add.at(d_table, targets, d_true)
    np.add.at(d_table, drawn, d_negative)
    rng = np.random.default_rng(4)
    for _ in range(3):
        by_states, by_table = rng.normal(size=states.shape), rng.normal(size=table.shape)

        def moved(step):
            losses = reference.sampled_softmax_loss(
                states + step * by_states, targets, table + step * by_table, drawn, LAWS[sampler]
            )
            return losses[targets >= 0] @ weights[targets >= 0]

        slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
        found = (d_states * by_states).sum() + (d_table * by_table).sum()
        assert found == pytest.approx(slope, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("jit", [False, True])
@each
def test_loss_and_gradients_near_the_full_ones_with_more_negatives(sampler, jit):
    states, targets, table = example()

    def full(states, table):
        scores = keras.ops.matmul(states, keras.ops.transpose(table))
        return keras.ops.sum(
            keras.losses.sparse_categorical_crossentropy(targets, scores, from_logits=True)
        )

    wanted = value_and_gradients(full, states, table)
    errors = []
    for negatives in (30, 60_000):
        layer = make(sampler, negatives)
        found = value_and_gradients(
            lambda s, t: keras.ops.sum(layer(s, targets, t)), states, table, jit=jit
        )
        errors.append(
            [
                np.linalg.norm(ours - exact) / np.linalg.norm(exact)
                for ours, exact in zip(found, wanted, strict=True)
            ]
        )
    few, many = np.array(errors)
    assert (many < 0.03).all()  # 45 times less than `few`, had there been no luck
    assert (many < few / 4)[1:].all()


@each
def test_a_negative_that_is_the_true_item_does_not_count(sampler):
    layer = make(sampler, 5)
    state, row = np.ones((1, 1), "float32"), np.ones((1, 1), "float32")
    hits = np.repeat(row, 5, axis=0) * 30
    target, other = np.array([7]), np.array([8])
    drawn = np.full(5, 7)
    assert numpy(layer.losses(state, target, row, drawn, hits))[0] == 0.0
    assert numpy(layer.losses(state, other, row, drawn, hits))[0] > 20


@each
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_its_losses_in_float32(sampler, dtype):
    states, targets, table = example()
    layer, negatives = make(sampler, 500), np.arange(500) % ITEMS
    rows = (table[targets], negatives, table[negatives])
    half = layer.losses(keras.ops.cast(states, dtype), targets, *rows)
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    np.testing.assert_allclose(
        numpy(half), numpy(layer.losses(states, targets, *rows)), rtol=0.01, atol=0.02
    )


def test_draws_anew_at_every_call_and_alike_for_a_seed():
    first, second = make("log_uniform", 20, seed=5), make("log_uniform", 20, seed=5)
    one, another = (numpy(first(*example())) for _ in range(2))
    assert not np.allclose(one, another)
    np.testing.assert_array_equal(numpy(second(*example())), one)


@each
def test_config_round_trip(sampler):
    layer = make(sampler, 20, seed=5)
    twin = SampledSoftmax.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    np.testing.assert_array_equal(numpy(layer(*example())), numpy(twin(*example())))
