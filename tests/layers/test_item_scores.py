"""Scores of items for any number of users, known before or not."""

import keras
import numpy as np
import pytest

from keras_peterrec.layers.item_scores import FEW_USERS, item_scores

TABLE = np.random.default_rng(0).normal(size=(300, 8)).astype("float32")


@pytest.mark.parametrize("users", [0, 1, 2, FEW_USERS, FEW_USERS + 1, 50])
def test_scores_are_those_of_numpy(users):
    states = np.random.default_rng(users).normal(size=(users, 8)).astype("float32")
    expected = states.astype("float64") @ TABLE.T.astype("float64")
    found = keras.ops.convert_to_numpy(item_scores(keras.ops.array(states), TABLE))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_graph_answers_for_any_number_of_users():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a graph of TensorFlow")
    graph = tf.function(
        lambda states: item_scores(states, TABLE), [tf.TensorSpec([None, 8], tf.float32)]
    )
    for users in (0, 1, 2, FEW_USERS, FEW_USERS + 1):
        states = np.random.default_rng(users).normal(size=(users, 8)).astype("float32")
        np.testing.assert_allclose(graph(states), states @ TABLE.T, atol=1e-5)
    assert graph.experimental_get_tracing_count() == 1
