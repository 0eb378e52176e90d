"""The table of epochs: a row each, also of a run that was interrupted."""

import keras
import numpy as np
import pytest

from keras_peterrec.files.history_file import read_history
from keras_peterrec.training.callbacks import HistoryFile, ProgressLines


def make_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    return model


def fit(folder, first, last):
    x = np.ones((4, 2), "float32")
    model = make_model()
    return model.fit(
        x, x[:, :1], initial_epoch=first, epochs=last, verbose=0, callbacks=[HistoryFile(folder)]
    )


def test_rows_are_what_keras_saw(tmp_path):
    history = fit(tmp_path, 0, 3).history
    found = read_history(tmp_path)
    assert found["epoch"] == [1, 2, 3] and found["learning_rate"] == [0.25] * 3
    np.testing.assert_allclose(found["loss"], history["loss"])
    assert [file.name for file in tmp_path.iterdir()] == ["history.csv"]


def test_an_epoch_that_is_repeated_stands_there_once(tmp_path):
    fit(tmp_path, 0, 3)
    first = read_history(tmp_path)["loss"]
    # The state on disk was that of the second epoch: the third comes again.
    again = fit(tmp_path, 2, 4).history["loss"]
    found = read_history(tmp_path)
    assert found["epoch"] == [1, 2, 3, 4]
    np.testing.assert_allclose(found["loss"], [*first[:2], *again])


def test_compiling_is_told_apart_from_the_first_epoch(capsys):
    x, model = np.ones((4, 2), "float32"), make_model()
    lines = ProgressLines("gender", "loss", 2)
    model.fit(x, x[:, :1], batch_size=1, epochs=2, verbose=0, callbacks=[lines])
    said = capsys.readouterr().err.splitlines()
    assert [line.partition("  loss")[0] for line in said][1:] == [
        "gender  epoch  1/2",
        "gender  epoch  2/2",
    ]
    assert said[0].startswith("gender  compiling ... ")
    compiling, epoch = float(said[0].split()[-2]), float(said[1].split()[-2])
    assert epoch <= compiling  # three steps, without the one that compiles


def said_of_time(monkeypatch, capsys, step_seconds, steps, epochs=200):
    """What two epochs say of the time of a training, where each step takes so long."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    lines = ProgressLines("pretrain", "loss", epochs, usual=(15, 35))
    lines.set_params({"steps": steps})
    lines.on_train_begin()
    for epoch in range(2):
        lines.on_epoch_begin(epoch)
        for step in range(steps):
            # The first step compiles, which is no part of an epoch's time.
            now[0] += 60.0 if epoch == step == 0 else step_seconds
            lines.on_train_batch_end(step)
        lines.on_epoch_end(epoch, {"loss": 1.0})
    lines.close()
    return [line for line in capsys.readouterr().err.splitlines() if "an epoch" in line]


@pytest.mark.parametrize(
    ("step_seconds", "steps", "epochs", "said"),
    [
        (
            0.1,
            300,
            200,
            ["about 30 s an epoch; such a training mostly ends after 15 to 35 epochs: 8 to 18"],
        ),
        (
            2.0,
            300,
            20,
            ["about 600 s an epoch; such a training mostly ends after 15 to 20 epochs: 150 to"],
        ),
        (
            2.0,
            300,
            4,
            ["about 600 s an epoch; such a training mostly ends after 4 epochs: 40 minutes"],
        ),
        (1.0, 4, 200, ["about 4 s an epoch"]),  # which ends before it is timed: the second is
        (0.1, 20, 200, []),  # over in a minute
    ],
)
def test_how_long_a_training_will_take_is_said_once(
    monkeypatch, capsys, step_seconds, steps, epochs, said
):
    found = said_of_time(monkeypatch, capsys, step_seconds, steps, epochs)
    assert len(found) == len(said)
    assert all(f"pretrain  {begin}" in line for begin, line in zip(said, found))


def test_a_run_without_history_has_none(tmp_path):
    assert read_history(tmp_path) == {}
