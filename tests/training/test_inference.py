"""Outputs for many histories: the order of the caller, batches of similar length."""

import gc
import weakref

import keras
import numpy as np
import numpy_reference as reference
import pytest
import tensorflow as tf
from slow_cases import slow

from keras_peterrec.log.preprocessing import gather_rows, left_pad
from keras_peterrec.models.pretrainer import CausalPretrainer, MaskedPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.training import inference
from keras_peterrec.training.inference import outputs_of

ITEMS = np.random.default_rng(0).integers(4, 20, 500).astype("int32")
LENGTHS = np.random.default_rng(1).permutation([0, 0, 1, 1, 2, 3, 3, 5, 8, 13, 21, 34, 40])
STARTS = np.arange(len(LENGTHS)) * 30
STOPS = STARTS + LENGTHS


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Four histories of at most 16 ids at once."""
    monkeypatch.setattr(inference, "TOKENS", 64)


@pytest.mark.parametrize("pretrainer_class", [MaskedPretrainer, *slow(CausalPretrainer)])
def test_each_history_gets_what_it_gets_alone(pretrainer_class):
    keras.utils.set_random_seed(0)
    causal = pretrainer_class is CausalPretrainer
    pretrainer = pretrainer_class(ConvolutionNetwork(20, 8, (1, 4), causal=causal))
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


def test_a_graph_goes_away_with_its_model():
    def use_a_model():  # in a frame of its own, whose locals nobody keeps
        model = CausalPretrainer(ConvolutionNetwork(20, 8, (1,)))
        for _ in range(2):
            outputs_of(model.user_states, ITEMS, STARTS, STOPS, 16)
        return weakref.ref(model)

    model = use_a_model()
    gc.collect()
    assert model() is None


def test_two_models_and_two_methods_have_graphs_of_their_own():
    models = [CausalPretrainer(ConvolutionNetwork(20, 8, (1,))) for _ in range(2)]
    for seed, model in enumerate(models):
        reference.randomise(model, seed)
    for method in ("user_states", "next_item_scores"):
        functions = [getattr(model, method) for model in models]
        one, other = (outputs_of(f, ITEMS, STARTS, STOPS, 16) for f in functions)
        assert one.shape == other.shape and not np.allclose(one, other)
        assert inference.traced(functions[0]) is inference.traced(getattr(models[0], method))


def test_a_plain_function_is_traced_once_and_let_go():
    def use_a_function():
        def last(history):
            return tf.cast(history, tf.float32)[:, -1:]

        assert inference.traced(last) is inference.traced(last)
        outputs_of(last, ITEMS, STARTS, STOPS, 16)
        return weakref.ref(last)

    function = use_a_function()
    gc.collect()
    assert function() is None
