"""Outputs for many histories: the order of the caller, batches of similar length."""

import keras
import numpy as np
import numpy_reference as reference
import pytest
import tensorflow as tf

from keras_peterrec.data.preprocessing import gather_rows, left_pad
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.causal_pretrainer import CausalPretrainer
from keras_peterrec.models.masked_pretrainer import MaskedPretrainer
from keras_peterrec.runs import inference
from keras_peterrec.runs.inference import outputs_of

ITEMS = np.random.default_rng(0).integers(4, 20, 500).astype("int32")
LENGTHS = np.random.default_rng(1).permutation([0, 0, 1, 1, 2, 3, 3, 5, 8, 13, 21, 34, 40])
STARTS = np.arange(len(LENGTHS)) * 30
STOPS = STARTS + LENGTHS


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Four histories of at most 16 ids at once."""
    monkeypatch.setattr(inference, "TOKENS", 64)


@pytest.mark.parametrize("pretrainer_class", [CausalPretrainer, MaskedPretrainer])
def test_each_history_gets_what_it_gets_alone(pretrainer_class):
    keras.utils.set_random_seed(0)
    causal = pretrainer_class is CausalPretrainer
    pretrainer = pretrainer_class(Backbone(20, 8, (1, 4), causal=causal))
    reference.randomise(pretrainer, 0)
    together = outputs_of(pretrainer.user_states, ITEMS, STARTS, STOPS, 16)
    for row, (start, stop) in enumerate(zip(STARTS, STOPS)):
        alone = left_pad(gather_rows(ITEMS, [start], [stop]), 16)
        np.testing.assert_allclose(
            together[row], pretrainer.user_states(alone)[0], atol=1e-4, rtol=1e-4
        )


def test_little_padding_and_one_trace():
    traces, shapes = [], []

    def see(history):
        traces.append(history.shape)
        tf.py_function(lambda ids: shapes.append(tuple(ids.shape)), [history], [])
        return tf.cast(history, tf.float32)[:, -1:]

    found = outputs_of(see, ITEMS, STARTS, STOPS, 16)
    outputs_of(see, ITEMS, STARTS[:1], STOPS[:1], 16)
    last = [ITEMS[stop - 1] if stop > start else 0 for start, stop in zip(STARTS, STOPS)]
    assert found[:, 0].tolist() == last
    assert traces == [(None, None)]
    assert shapes[:-1] == [(4, 1), (4, 5), (4, 16), (1, 16)]
