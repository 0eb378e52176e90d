"""FlatAdam against Keras' Adam."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.optimizers.flat_adam import FlatAdam
from keras_peterrec.optimizers.row_sparse_adam import RowSparseAdam

SHAPES = [(3,), (4, 2), (2, 3, 5), (7, 6), ()]


def trained(optimizer, steps=5, missing=()):
    """The variables after some steps on made-up gradients; `missing` have none."""
    draw = np.random.default_rng(0)
    variables = [keras.Variable(draw.normal(size=shape).astype("float32")) for shape in SHAPES]
    optimizer.build(variables)

    @tf.function
    def step(grads):
        grads = [None if n in missing else g for n, g in enumerate(grads)]
        optimizer.apply(grads, variables)

    for _ in range(steps):
        step([tf.constant(draw.normal(size=shape), "float32") for shape in SHAPES])
    return [variable.numpy() for variable in variables]


@functools.cache
def trained_by_keras(**settings):
    return trained(keras.optimizers.Adam(0.01, **settings))


# With 20 values, one variable is updated on its own.
@pytest.mark.parametrize("flat_values", [0, 20, 1000])
@pytest.mark.parametrize("settings", [{}, {"global_clipnorm": 0.5}, {"weight_decay": 0.1}])
def test_moves_variables_as_keras_does(flat_values, settings):
    expected = trained_by_keras(**settings)
    found = trained(FlatAdam(0.01, flat_values=flat_values, **settings))
    for mine, theirs in zip(found, expected):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_a_variable_without_gradient_stays():
    expected = trained(keras.optimizers.Adam(0.01), missing=(1,))
    found = trained(FlatAdam(0.01), missing=(1,))
    for mine, theirs in zip(found, expected):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_its_settings_come_back():
    optimizer = FlatAdam.from_config(FlatAdam(0.25, flat_values=7).get_config())
    assert optimizer.flat_values == 7
    assert float(optimizer.learning_rate) == 0.25


def test_has_two_moments_for_each_number():
    optimizer = FlatAdam()
    variables = [keras.Variable(np.zeros(shape, "float32")) for shape in SHAPES]
    optimizer.build(variables)
    numbers = sum(variable.value.shape.num_elements() for variable in variables)
    moments = [v for v in optimizer.variables if len(v.shape)]
    assert sorted(v.shape[0] for v in moments) == [numbers, numbers]


@pytest.mark.parametrize("make", [FlatAdam, RowSparseAdam])
@pytest.mark.parametrize("flat_values", [0, 100])
def test_frozen_rows_stay_to_the_bit_and_others_move_as_ever(make, flat_values):
    start = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    tables = []
    for frozen in (0, 4):
        table = keras.Variable(start)
        optimizer = make(0.1, flat_values=flat_values)
        optimizer.build([table])
        optimizer.freeze_rows(table, frozen)
        for rows in ([0, 4, 4], [1, 5, 0], [4, 2, 3]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table.value, rows) ** 2)
            optimizer.apply([tape.gradient(loss, table.value)], [table])
        tables.append(np.asarray(table))
    np.testing.assert_array_equal(tables[1][:4], start[:4])
    np.testing.assert_array_equal(tables[1][4:], tables[0][4:])
    assert not np.array_equal(tables[0][4:], start[4:])
