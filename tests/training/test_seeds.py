"""A run depends on its seed alone and leaves the caller's random numbers alone."""

import contextlib
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from prepared_samples import sample_columns

from keras_peterrec.benchmarks.serve_direct import make_model
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.runs.multi_task import multi_task
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.training.seeds import seeded

SMALL = {"hidden_dim": 8, "blocks": 1, "max_length": 10, "epochs": 1}


def draw():
    """The next random number of each kind that a caller may draw."""
    shuffled = tf.data.Dataset.range(1000).shuffle(1000, seed=5)
    return [
        random.random(),
        np.random.random(),
        float(tf.random.normal(())),
        float(tf.random.normal((), seed=7)),
        float(keras.random.normal(())),
        float(keras.initializers.RandomNormal()(())),
        int(next(iter(shuffled))),
    ]


def assert_undisturbed(function):
    """Asserts that a caller who calls the function in between draws the same numbers."""
    keras.utils.set_random_seed(11)
    expected = [draw() for _ in range(2)]
    keras.utils.set_random_seed(11)
    found = [draw()]
    function()
    assert [*found, draw()] == expected


def test_a_block_draws_what_keras_draws_with_that_seed():
    draws = []
    for state in range(2):
        keras.utils.set_random_seed(state)  # the caller's, of no effect
        with seeded(3):
            draws.append([random.random(), np.random.random(), *draw()[-2:]])
    keras.utils.set_random_seed(3)
    assert draws == [[random.random(), np.random.random(), *draw()[-2:]]] * 2


def test_a_block_leaves_the_states_as_they_were():
    def block():
        with seeded(3):
            random.random(), np.random.random(), tf.random.normal(()), tf.random.normal((), seed=7)
            with seeded(4):
                tf.random.normal(())

    def failing_block():
        with contextlib.suppress(KeyboardInterrupt), seeded(3):
            tf.random.normal(())
            raise KeyboardInterrupt

    assert_undisturbed(block)
    assert_undisturbed(failing_block)


def test_a_caller_without_a_seed_stays_without_one():
    tf.random.set_seed(None)
    default = tf.compat.v1.get_seed(1)
    with seeded(3):
        assert tf.compat.v1.get_seed(1) == (3, 1) != default
    assert tf.compat.v1.get_seed(1) == default


@pytest.mark.slow
def test_commands_leave_the_states_as_they_were(tmp_path):
    host, log = tmp_path / "host", Events.from_columns(*sample_columns(events=600, users=60))
    labels = Labels.from_columns([f"u{n}" for n in range(60)], ["x", "y", "x"] * 20, "letter")
    task, alone = {"labels": labels, "column": "letter"}, {"linear": False, "baselines": False}
    assert_undisturbed(lambda: pretrain(log, host, **SMALL, **alone))
    given = {**task, **alone, "epochs": 1, "method": "head"}
    assert_undisturbed(lambda: transfer(host, log, tmp_path / "task", **given))
    tasks = {"letter": {"log": log, **task}}
    assert_undisturbed(lambda: multi_task(log, tasks, tmp_path / "mtl", **SMALL))


@pytest.mark.slow
def test_a_benchmarks_model_leaves_the_states_as_they_were(tmp_path):
    assert_undisturbed(lambda: make_model(tmp_path / "made" / "1", 20, 10, 8, 1, 8, seed=0))


@pytest.mark.slow
def test_the_callers_states_do_not_change_a_run(tmp_path):
    results = []
    for state in range(2):
        keras.utils.set_random_seed(state)
        result = pretrain("simulated/source", tmp_path / str(state), **SMALL, seed=1)
        results.append(result["metrics"])
    assert results[0] == results[1]
