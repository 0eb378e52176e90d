"""Loss scaling looks at the rows of a step and is Keras' otherwise."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from optimizer_samples import large_tensors, slices, table_of

from keras_peterrec import RowSparseAdam, RowSparseLossScaleOptimizer

IDS = [3, 0, 3]


def optimizer_of(cls):
    return cls(RowSparseAdam(0.1), initial_scale=8.0, dynamic_growth_steps=2)


@pytest.mark.parametrize("jit", (False, True))
def test_equals_keras_loss_scaling(jit):
    results = []
    for cls in (RowSparseLossScaleOptimizer, keras.optimizers.LossScaleOptimizer):
        table, optimizer = table_of(), optimizer_of(cls)
        optimizer.build([table])
        apply = tf.function(lambda g: optimizer.apply([g], [table]), jit_compile=jit)
        for seed, factor in enumerate((1.0, 1.0, np.inf, 1.0)):
            apply(slices(IDS, seed, factor))
        # Doubled after two steps, halved by the third.
        assert (optimizer.dynamic_scale, optimizer.iterations) == (8.0, 3)
        results.append([table.numpy(), *(v.numpy() for v in optimizer.variables)])
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_step_that_is_not_finite_changes_no_row():
    table, optimizer = table_of(), optimizer_of(RowSparseLossScaleOptimizer)
    before = table.numpy()
    optimizer.apply([slices(IDS, factor=np.nan)], [table])
    np.testing.assert_array_equal(table, before)
    assert optimizer.iterations == 0


def test_unscales():
    tables = table_of(), table_of()
    scaled, plain = optimizer_of(RowSparseLossScaleOptimizer), RowSparseAdam(0.1)
    scaled.build([tables[0]])
    for seed in range(3):
        factor = float(scaled.scale_loss(1.0))
        scaled.apply([slices(IDS, seed, factor)], [tables[0]])
        plain.apply([slices(IDS, seed)], [tables[1]])
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-6)


def test_makes_nothing_as_large_as_the_table():
    table, optimizer = table_of(977), optimizer_of(RowSparseLossScaleOptimizer)
    assert not large_tensors(optimizer, [table], [slices(IDS, rows=977)], 977)


def test_is_serializable():
    optimizer = keras.optimizers.deserialize(
        keras.optimizers.serialize(optimizer_of(RowSparseLossScaleOptimizer))
    )
    assert type(optimizer) is RowSparseLossScaleOptimizer
    assert type(optimizer.inner_optimizer) is RowSparseAdam
