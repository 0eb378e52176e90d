"""The loss by step, and what is shown of validation users epoch by epoch."""

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from keras_peterrec.training.callbacks import Validation
from keras_peterrec.training.tensorboard import BETWEEN, POINTS, StepLoss, tensorboard_callbacks


def fit(callbacks, rows=12, epochs=2, batch=3):
    x = np.random.default_rng(0).random((rows, 2)).astype("float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    options = {"shuffle": False, "verbose": 0, "callbacks": callbacks}
    return model.fit(x, x.sum(1), batch_size=batch, epochs=epochs, **options).history


def read(folder, tag):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


def test_the_losses_of_the_steps_make_that_of_the_epoch(tmp_path):
    history = fit([StepLoss(tmp_path)], rows=8, batch=1)
    found = read(tmp_path, "step_loss")
    assert [step for step, _ in found] == [BETWEEN, 8, 8 + BETWEEN, 16]
    means = np.reshape([loss for _, loss in found], (2, 2)) @ [BETWEEN / 8, (8 - BETWEEN) / 8]
    np.testing.assert_allclose(means, history["loss"], rtol=1e-5)


def test_a_long_epoch_has_a_few_points_that_are_means(tmp_path):
    rows = 6 * POINTS
    history = fit([StepLoss(tmp_path)], rows=rows, epochs=1, batch=1)
    found = read(tmp_path, "step_loss")
    assert [step for step, _ in found] == list(range(6, rows + 1, 6))
    assert np.mean([loss for _, loss in found]) == pytest.approx(history["loss"][0], rel=1e-4)


def test_examples_are_shown_after_each_epoch(tmp_path):
    validation = Validation(lambda: {"hr@5": 0.5})
    shown = tensorboard_callbacks(tmp_path, validation, lambda found: f"| {found} |", False)
    fit([validation, *shown])
    found = read(tmp_path / "examples", "validation users")
    assert [step for step, _ in found] == [0, 1]
    assert found[0][1].item() == b"| {'hr@5': 0.5} |"


def test_nothing_is_written_where_there_is_nothing_to_show(tmp_path):
    validation = Validation(lambda: {})
    fit([validation, *tensorboard_callbacks(tmp_path, validation, lambda found: "", False)])
    events = EventAccumulator(str(tmp_path / "examples")).Reload()
    assert events.Tags()["tensors"] == []


def test_the_profiler_says_where_it_writes(tmp_path, capsys):
    fit(tensorboard_callbacks(tmp_path, Validation(lambda: {}), None, True), rows=48)
    where = tmp_path / "train" / "plugins" / "profile"
    assert str(where) in capsys.readouterr().err
    assert list(where.rglob("*.xplane.pb"))
