"""The moving average of a model's weights, alone and through an interrupted training."""

import keras
import numpy as np
import pytest

from keras_peterrec.training.callbacks import Validation
from keras_peterrec.training.resumable_training import ResumableTraining
from keras_peterrec.training.weight_average import STEPS, WeightAverage

X, Y = np.eye(4, dtype="float32"), np.arange(4, dtype="float32")


def new_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="dense")])
    model.compile(keras.optimizers.Adam(0.1), loss="mse", jit_compile=False)
    return model


def kernel(model):
    return model.get_layer("dense").kernel.numpy()


def train(model, average, epochs, callbacks=(), first=0, steps=2 * STEPS):
    model.fit(
        np.tile(X, (steps, 1)),
        np.tile(Y, steps),
        batch_size=4,
        epochs=epochs,
        initial_epoch=first,
        shuffle=False,
        verbose=0,
        callbacks=[average, *callbacks],
    )


def test_is_the_formula():
    model, seen = new_model(), []
    average = WeightAverage(model, decay=0.9)
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(kernel(model))
    )
    train(model, average, epochs=2, callbacks=[note], steps=STEPS + 5)
    expected = None
    at_updates = [STEPS, STEPS + 5, 2 * STEPS + 5, 2 * STEPS + 10]  # after so many steps
    for update, step in enumerate(at_updates):
        decay = min(0.9**STEPS, update / (update + 9))
        weight = seen[step - 1]
        expected = weight if expected is None else decay * expected + (1 - decay) * weight
    own = kernel(model)
    with average.in_use():
        np.testing.assert_allclose(kernel(model), expected, rtol=1e-5)
    np.testing.assert_array_equal(kernel(model), own)
    average.keep()
    np.testing.assert_allclose(kernel(model), expected, rtol=1e-5)


def test_the_weights_come_back_after_an_error():
    model = new_model()
    average = WeightAverage(model, decay=0.9)
    train(model, average, epochs=1)
    own = kernel(model)
    with pytest.raises(ZeroDivisionError), average.in_use():
        assert not np.array_equal(kernel(model), own)
        raise ZeroDivisionError
    np.testing.assert_array_equal(kernel(model), own)


def resumable(folder, model, scores, stop_after=None):
    """Trains as `fit` does, with scripted scores; returns what was measured in each epoch."""
    average = WeightAverage(model, decay=0.9)
    training = ResumableTraining(folder, "val_score", "max", patience=9, average=average)
    first = training.restore(model)
    measured = {}

    def measure():
        epoch = first + len(measured)
        with average.in_use():
            measured[epoch] = kernel(model)
        return {"score": scores[epoch]}

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == stop_after:
                raise KeyboardInterrupt

    callbacks = [Validation(measure), training, Interrupt()]
    train(model, average, len(scores), callbacks, first)
    return measured


def test_the_best_average_is_kept(tmp_path):
    model = new_model()
    measured = resumable(tmp_path, model, [1, 3, 2])
    np.testing.assert_array_equal(kernel(model), measured[1])


def test_an_interrupted_training_goes_on_with_the_same_average(tmp_path):
    whole = resumable(tmp_path / "whole", new_model(), [1, 2, 3])
    with pytest.raises(KeyboardInterrupt):
        resumable(tmp_path / "parts", new_model(), [1, 2, 3], stop_after=0)
    model = new_model()
    rest = resumable(tmp_path / "parts", model, [1, 2, 3])
    assert list(rest) == [1, 2]
    for epoch, weights in rest.items():
        np.testing.assert_array_equal(weights, whole[epoch])
    np.testing.assert_array_equal(kernel(model), whole[2])
