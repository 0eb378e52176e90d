"""How runs compile their models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.optimizers.row_sparse_adam import RowSparseAdam
from keras_peterrec.training.fit import DENSE_ROWS, compile_model, worth_compiling


@pytest.mark.parametrize("rows, by_row", [(DENSE_ROWS, False), (DENSE_ROWS + 1, True)])
def test_large_tables_are_updated_by_rows(rows, by_row):
    model = CausalPretrainer(ConvolutionNetwork(rows, 4, (1,)), negatives=5)
    compile_model(model, None, 0.01)
    assert isinstance(model.optimizer, RowSparseAdam) == by_row
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert model.jit_compile


# 8 blocks of 64 channels take a second for an epoch of 64 batches of 16 histories.
@pytest.mark.parametrize(
    "channels, length, steps, epochs, worth",
    [
        (64, 50, 64, 40, True),
        (64, 50, 64, 1, False),
        (64, 50, 4, 40, False),
        (8, 50, 64, 40, False),
    ],
)
def test_only_long_trainings_are_compiled(channels, length, steps, epochs, worth):
    model = CausalPretrainer(ConvolutionNetwork(100, channels), negatives=5)
    batch = np.zeros((16, length), "int32")
    batches = tf.data.Dataset.from_tensors((batch, batch)).repeat(steps)
    assert worth_compiling(model, batches, epochs) == worth


def test_the_size_of_a_table_says_nothing_of_a_step():
    batches = tf.data.Dataset.from_tensors((np.zeros((4, 8), "int32"),) * 2)
    model = CausalPretrainer(ConvolutionNetwork(100_000, 64, (1,)), negatives=5)
    assert not worth_compiling(model, batches, 10)
