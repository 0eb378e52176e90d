"""One way to fit, for every stage."""

import contextlib
import sys
from dataclasses import dataclass

import keras

from keras_peterrec.callbacks.progress import ProgressLines
from keras_peterrec.callbacks.resumable_training import ResumableTraining
from keras_peterrec.callbacks.validation import Validation
from keras_peterrec.runs.inference import write_graph


@dataclass(frozen=True)
class Recipe:
    """How a stage is trained.

    Args:
        learning_rate: float. Of Adam, at the start.
        epochs: int. At most.
        patience: int. Epochs without a better validation metric before the learning
            rate drops; see `ResumableTraining`.
        monitor: str. That metric.
        mode: str. `"max"` or `"min"`.
        drops: int. How often the learning rate drops before training stops.
    """

    learning_rate: float
    epochs: int
    patience: int
    monitor: str
    mode: str
    drops: int = 2


def compile_model(model, loss, learning_rate):
    """Compiles a model the way every stage, and the benchmark of training, does.

    Args:
        model: keras.Model.
        loss: Loss, or `None` where the model brings its own.
        learning_rate: float. Of Adam, at the start.
    """
    optimizer = keras.optimizers.Adam(learning_rate)
    # Batches have one shape, so XLA compiles once; that halves a step on a CPU. With the
    # optimizer's variables made beforehand, the step is traced once as well.
    model.compile(optimizer, loss=loss, jit_compile=True)
    model.optimizer.build(model.trainable_variables)


def fit(title, model, loss, batches, measure, forward, recipe, folder):
    """Trains a model to its best validation metric; goes on where it was.

    Args:
        title: str. For the progress.
        model: keras.Model.
        loss: Loss, or `None` where the model brings its own.
        batches: tf.data.Dataset of one epoch.
        measure: Callable that returns the validation metrics as a dict.
        forward: Callable of ids, whose graph TensorBoard shows.
        recipe: Recipe.
        folder: path of the run, for `state` and the TensorBoard `logs`.

    Returns:
        ResumableTraining; call its `finish` once the result is on disk. The model
        has its best weights.
    """
    compile_model(model, loss, recipe.learning_rate)
    training = ResumableTraining(
        folder / "state", recipe.monitor, recipe.mode, recipe.patience, recipe.drops
    )
    first = training.restore(model)
    if training.stopped or first >= recipe.epochs:
        training.set_model(model)
        training.load_best()
        return training
    write_graph(forward, folder / "logs" / "train")
    callbacks = [
        Validation(measure),
        keras.callbacks.TensorBoard(folder / "logs", write_graph=False, profile_batch=0),
        training,
        ProgressLines(title, recipe.monitor, recipe.epochs),
    ]
    with contextlib.redirect_stdout(sys.stderr):  # results alone go to stdout
        model.fit(
            batches,
            epochs=recipe.epochs,
            initial_epoch=first,
            callbacks=callbacks,
            verbose=0,
            shuffle=False,
        )
    return training
