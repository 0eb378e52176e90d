"""The table of epochs: a row each, also of a run that was interrupted."""

import keras
import numpy as np

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


def test_a_run_without_history_has_none(tmp_path):
    assert read_history(tmp_path) == {}
