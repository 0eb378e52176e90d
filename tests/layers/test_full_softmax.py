"""FullSoftmax gives the plain cross-entropy and its gradients, whatever the chunks."""

import keras
import numpy as np
import pytest
from autodiff import value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_cases import slow

from keras_peterrec.layers.full_softmax import FullSoftmax


def example(rows, items, channels, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    states = rng.normal(0, scale, (rows, channels)).astype("float32")
    table = rng.normal(0, scale, (items, channels)).astype("float32")
    return states, rng.integers(-1, items, rows).astype("int32"), table


def expected(states, targets, table, smoothing=0.0, weights=None):
    """Loss and gradients in float64, row by row."""
    weights = np.ones(len(targets)) if weights is None else weights.astype("float64")
    states, table = states.astype("float64"), table.astype("float64")
    loss, d_states, d_table = 0.0, np.zeros_like(states), np.zeros_like(table)
    for row, target in enumerate(targets):
        if target < 0:
            continue
        scores = table @ states[row]
        log_probability = scores - scores.max()
        log_probability -= np.log(np.exp(log_probability).sum())
        wanted = np.full(len(table), smoothing / len(table))
        wanted[target] += 1 - smoothing
        loss -= weights[row] * (log_probability @ wanted)
        d_scores = weights[row] * (np.exp(log_probability) - wanted)
        d_states[row] = d_scores @ table
        d_table += np.outer(d_scores, states[row])
    return loss, d_states, d_table


def check(found, wanted, tolerance, scale=0.1):
    for ours, exact in zip(found, wanted, strict=True):
        # Scores of size scale² are rounded, however small their differences are.
        largest = max(np.abs(exact).max(), scale**2 / 10)
        np.testing.assert_allclose(ours, exact, rtol=tolerance, atol=tolerance * largest)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 9),
    items=st.integers(1, 7),
    channels=st.integers(1, 5),
    chunk_rows=st.none() | st.integers(1, 10),
    smoothing=st.sampled_from([0.0, 0.2]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),  # scores of 100 and more overflow a bare exp
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_the_plain_cross_entropy(
    rows, items, channels, chunk_rows, smoothing, scale, weighted, seed
):
    states, targets, table = example(rows, items, channels, seed, scale)
    weights = None
    if weighted:
        weights = np.random.default_rng(seed).choice([0.0, 0.5, 3.0], rows).astype("float32")
    layer = FullSoftmax(smoothing, chunk_rows)
    found = value_and_gradients(lambda s, t: layer(s, targets, t, weights), states, table)
    check(found, expected(states, targets, table, smoothing, weights), 1e-4, scale)


@pytest.mark.parametrize(
    ("smoothing", "chunk_rows"),
    [
        *((0.0, None), (0.1, 5), (0.1, 7), (0.0, 35)),
        *slow((0.1, None), (0.0, 5), (0.0, 7), (0.1, 35)),
    ],
)
def test_compiled_it_equals_the_plain_cross_entropy(chunk_rows, smoothing):
    states, targets, table = example(35, 60, 8, seed=1)
    layer = FullSoftmax(smoothing, chunk_rows)
    found = value_and_gradients(lambda s, t: layer(s, targets, t), states, table, jit=True)
    check(found, expected(states, targets, table, smoothing), 1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_respect_what_is_computed_from_the_sum(jit):
    states, targets, table = example(11, 20, 4, seed=2)
    layer = FullSoftmax(chunk_rows=4)
    value, *gradients = value_and_gradients(
        lambda s, t: layer(2 * s, targets, t) / -5.0, states, table, jit=jit
    )
    loss, d_states, d_table = expected(2 * states, targets, table)
    check((value, *gradients), (-loss / 5, -2 * d_states / 5, -d_table / 5), 1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_without_training_loss_and_gradients_are_the_same(jit):
    states, targets, table = example(11, 20, 4, seed=3)
    layer = FullSoftmax(0.1, chunk_rows=4)
    found = value_and_gradients(
        lambda s, t: layer(s, targets, t, training=False), states, table, jit=jit
    )
    check(found, expected(states, targets, table, 0.1), 1e-5)


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 0.03), ("float16", 0.004)])
def test_half_precision_multiplies_in_half_and_sums_in_float32(dtype, tolerance):
    # 3,000 items: summed in a half type, their powers would stop growing at 256 or 2,048.
    states, targets, table = example(300, 3000, 8, seed=4, scale=0.5)
    states = keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(states, dtype), "float32"))
    layer = FullSoftmax(chunk_rows=64)
    half = keras.ops.cast(states, dtype)
    loss = layer(half, targets, table)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    found = value_and_gradients(
        lambda s, t: layer(keras.ops.cast(s, dtype), targets, t), states, table
    )
    wanted = expected(states, targets, table)
    assert float(loss) == pytest.approx(wanted[0], rel=2e-3)
    for ours, exact in zip(found[1:], wanted[1:], strict=True):
        assert np.linalg.norm(ours - exact) < tolerance * np.linalg.norm(exact)


def test_without_counted_rows_loss_and_gradients_are_zero():
    states, targets, table = example(6, 5, 3)
    layer = FullSoftmax(0.1, chunk_rows=4)
    nothing = np.full_like(targets, -1)
    for part in value_and_gradients(lambda s, t: layer(s, nothing, t), states, table):
        assert not np.any(part)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shapes are static")
@pytest.mark.parametrize("jit", [False, True])
def test_the_number_of_rows_may_be_unknown_when_traced(jit):
    import tensorflow as tf

    layer = FullSoftmax(chunk_rows=4)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 3)),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((9, 3)),
        ],
        jit_compile=jit,
    )
    def step(states, targets, table):
        with tf.GradientTape() as tape:
            tape.watch((states, table))
            loss = layer(states, targets, table)
        return (loss, *tape.gradient(loss, (states, table)))

    for rows in (3, 4, 10):
        states, targets, table = example(rows, 9, 3, seed=rows)
        check(step(states, targets, table), expected(states, targets, table), 1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="by the tape")
@pytest.mark.parametrize("jit", [False, True])
def test_the_table_may_be_a_variable(jit):
    import tensorflow as tf

    states, targets, table = example(6, 5, 3)
    variable, layer = keras.Variable(table), FullSoftmax()

    @tf.function(jit_compile=jit)
    def step():
        with tf.GradientTape() as tape:
            loss = layer(states, targets, variable)
        return loss, tape.gradient(loss, variable.value)

    loss, _, d_table = expected(states, targets, table)
    check(step(), (loss, d_table), 1e-5)


def test_arguments_out_of_range_raise():
    with pytest.raises(ValueError, match="`label_smoothing` = 1.0"):
        FullSoftmax(1.0)
    with pytest.raises(ValueError, match="`chunk_rows` = 0"):
        FullSoftmax(chunk_rows=0)


def test_config_round_trip():
    twin = FullSoftmax.from_config(FullSoftmax(0.1, 32).get_config())
    assert (twin.label_smoothing, twin.chunk_rows) == (0.1, 32)
