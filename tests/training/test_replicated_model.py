"""Random numbers of replicas, and the loss that `fit` shows. Steps: `test_training_together`."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.layers.sampled_softmax import SHARED_SEED
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.training.replicated_model import (
    record_loss,
    vary_dropout,
)
from keras_peterrec.training.seeds import random_states


def test_dropout_varies_between_replicas_and_negatives_do_not(monkeypatch):
    model = CausalPretrainer(ConvolutionNetwork(20, 4, (1, 4), dropout=0.5), negatives=5)
    states = random_states(model)
    shared = [SHARED_SEED in state.path for state in states]
    assert shared.count(True) == 1 < len(states)
    before = [state.numpy() for state in states]
    # The second of two replicas, without two devices.
    strategy = SimpleNamespace(num_replicas_in_sync=2, run=lambda function: function())
    monkeypatch.setattr(CausalPretrainer, "distribute_strategy", strategy)
    replica = SimpleNamespace(replica_id_in_sync_group=1)
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: replica)
    vary_dropout(model)
    moved = [(state.numpy() - old).tolist() for state, old in zip(states, before)]
    assert moved == [[0, 0] if is_shared else [1, 0] for is_shared in shared]


def test_one_device_keeps_its_random_states():
    model = CausalPretrainer(ConvolutionNetwork(20, 4, (1,), dropout=0.5))
    before = [state.numpy().tolist() for state in random_states(model)]
    vary_dropout(model)
    assert [state.numpy().tolist() for state in random_states(model)] == before


def test_the_loss_is_a_mean_over_rows_of_the_outer_model():
    inputs = keras.Input((2,))
    inner = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    outer = keras.Model(inputs, inner(inputs))
    for model in (inner, outer):
        model.compile("sgd", "mse")
    record_loss(outer, 1.0, 3)
    record_loss(outer, 5.0, 1)
    assert float(outer.get_metrics_result()["loss"]) == pytest.approx(2.0)
    assert np.isclose(float(inner.get_metrics_result()["loss"]), 0.0)
