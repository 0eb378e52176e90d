"""Unknown items do no harm: a task answers as if they were not in the history."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from task_samples import KINDS, make_host, make_task

from keras_peterrec.log.vocabulary import UNK
from keras_peterrec.transfer.incremental_task import IncrementalTask
from keras_peterrec.transfer.mixed_tasks import MixedTasks

LENGTH = 24
ROWS = len(KINDS)
HISTORIES = st.lists(
    st.lists(st.integers(4, 15), max_size=LENGTH // 2), min_size=ROWS, max_size=ROWS
)


@pytest.fixture(scope="module")
def tasks():
    host = make_host(dilations=(1, 4))
    return {name: make_task(host, name) for name in KINDS}


def padded(rows):
    return np.array([[0] * (LENGTH - len(row)) + row for row in rows])


def with_unknown(row, share, rng):
    """A history about a share of which is unknown, here and there or all at its end."""
    count = min(LENGTH - len(row), round(share / (1 - share) * max(len(row), 1)))
    places = rng.integers(0, len(row) + 1, count) if rng.random() < 0.5 else [len(row)] * count
    return np.insert(np.array(row, int), np.sort(places).astype(int), UNK).tolist()


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(rows=HISTORIES, share=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_answers_to_histories_are_those_without_unknown_items(tasks, rows, share, seed):
    rng = np.random.default_rng(seed)
    histories = padded([with_unknown(row, share, rng) for row in rows])
    wanted = [task.scores(padded(rows)) for task in tasks.values()]
    for task, scores in zip(tasks.values(), wanted):
        np.testing.assert_array_equal(task.scores(histories), scores)
    of_mixed = MixedTasks.of_tasks(tasks).scores(histories, [*tasks])
    for row, scores in enumerate(of_mixed):
        np.testing.assert_allclose(scores, wanted[row][row], atol=1e-5)


def test_an_unknown_event_changes_no_state(tasks):
    steps = IncrementalTask(tasks["classification"].model)
    step = tf.function(steps.step)
    state, before = step(steps.start(ROWS), tf.constant([7, 9, 0, 5]))
    for items in ([UNK] * ROWS, [UNK, 0, UNK, 0]):
        later, answers = step(state, tf.constant(items))
        np.testing.assert_array_equal(later, state)
        np.testing.assert_allclose(answers, before, atol=1e-5)
        np.testing.assert_array_equal(steps.append(state, tf.constant(items)), state)


def test_a_state_that_was_read_is_that_of_the_known_items(tasks):
    steps = IncrementalTask(tasks["recommendation"].model)
    known = steps.read(padded([[4, 9, 12], []]))
    found = steps.read(padded([[UNK, 4, UNK, UNK, 9, 12, UNK], [UNK] * 20]))
    np.testing.assert_allclose(found, known, atol=1e-6)
