"""A state carried from event to event against the whole history, patches on."""

import numpy as np
import numpy_reference as reference
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_cases import slow
from task_samples import EVERY_PATCH

from keras_peterrec.errors import InputError
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.tasks.heads import LinearHead, RecommenderHead
from keras_peterrec.transfer.incremental_task import IncrementalTask
from keras_peterrec.transfer.task_model import TaskModel

PATCHES = (None, *EVERY_PATCH, "lora:1+norm+bottleneck:2")


def make_model(patch, seed=0, head=None, kernel_size=3, causal=True):
    host = ConvolutionNetwork(
        20, hidden_dim=8, dilations=(1, 4), kernel_size=kernel_size, causal=causal
    )
    model = TaskModel(host, head or LinearHead(3), patch)
    return reference.randomise(model, seed, scale=0.4, mean=0.2)


@pytest.mark.parametrize(
    ("patch", "kernel_size"),
    [
        *((None, 3), ("compacter:4", 3), (PATCHES[-2], 3), (PATCHES[-1], 5)),
        *slow(
            *((patch, 3) for patch in PATCHES if patch not in (None, "compacter:4", PATCHES[-2]))
        ),
    ],
)
def test_every_step_answers_as_the_whole_history_would(patch, kernel_size):
    model = make_model(patch, kernel_size=kernel_size)
    task = IncrementalTask(model)
    history = np.random.default_rng(1).integers(2, 20, (3, 45))
    state, step = task.start(3), tf.function(task.step)
    for length in range(1, history.shape[1] + 1):
        state, scores = step(state, tf.constant(history[:, length - 1], "int32"))
        if length in (1, 5, 45):
            expected = np.asarray(model(history[:, :length]))
            np.testing.assert_allclose(np.asarray(scores), expected, atol=1e-5)
            np.testing.assert_allclose(np.asarray(task.scores(state)), expected, atol=1e-5)


def test_a_user_without_events_is_a_user():
    model = make_model("bottleneck:2")
    task = IncrementalTask(model)
    expected = np.asarray(model(np.zeros((1, 4), "int32")))
    np.testing.assert_allclose(np.asarray(task.scores(task.start(1))), expected, atol=1e-5)


MODEL = make_model("lora:2+norm+item_lora:2", head=RecommenderHead(4))


APPEND = tf.function(IncrementalTask(MODEL).append)
STEP = tf.function(IncrementalTask(MODEL).step)
SCORES = tf.function(IncrementalTask(MODEL).scores)
USERS = 3


@settings(max_examples=4, deadline=None)
@given(
    st.lists(st.lists(st.integers(2, 19), max_size=8), min_size=USERS, max_size=USERS),
    st.integers(0, 99),
)
def test_users_of_different_lengths_step_side_by_side(histories, seed):
    task, rng = IncrementalTask(MODEL), np.random.default_rng(seed)
    state = task.start(USERS)
    waiting = [list(history) for history in histories]
    while any(waiting):
        coming = [bool(rest) and rng.random() < 0.7 for rest in waiting]
        items = [rest.pop(0) if comes else 0 for rest, comes in zip(waiting, coming)]
        before = state
        state, scores = STEP(before, tf.constant(items))
        # One pass for event and token, or two: the same, for those without an event too.
        np.testing.assert_allclose(np.asarray(scores), np.asarray(SCORES(state)), atol=1e-5)
        np.testing.assert_allclose(
            np.asarray(state), np.asarray(APPEND(before, tf.constant(items))), atol=1e-5
        )
    padded = np.array([[0] * (8 - len(history)) + history for history in histories], "int32")
    np.testing.assert_allclose(np.asarray(SCORES(state)), np.asarray(MODEL(padded)), atol=1e-5)
    np.testing.assert_allclose(np.asarray(task.read(padded)), np.asarray(state), atol=1e-5)


def test_a_state_has_the_size_of_the_receptive_field():
    model = make_model(None)
    task, rows = IncrementalTask(model), model.host.receptive_field - 1
    assert task.start(2).shape == (2, *task.state_shape) == (2, rows, 8)


def test_the_answer_leaves_the_state_alone():
    task = IncrementalTask(make_model("bottleneck:2"))
    state = task.append(task.start(1), [7])
    before = np.asarray(state).tobytes()
    task.scores(state)
    after, _ = task.step(state, [0])
    assert np.asarray(state).tobytes() == before == np.asarray(after).tobytes()


def test_a_masked_host_is_refused():
    with pytest.raises(InputError, match="`model` should have a causal host"):
        IncrementalTask(make_model(None, causal=False))
