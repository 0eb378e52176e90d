"""One way to fit, for every stage."""

import contextlib
import sys
from dataclasses import dataclass

import keras

from keras_peterrec.callbacks.history_file import HistoryFile
from keras_peterrec.callbacks.progress import ProgressLines
from keras_peterrec.callbacks.resumable_training import ResumableTraining
from keras_peterrec.callbacks.validation import Validation
from keras_peterrec.distribution.devices import Devices
from keras_peterrec.distribution.replicated_model import vary_dropout
from keras_peterrec.optimizers.row_sparse_adam import RowSparseAdam
from keras_peterrec.runs.inference import write_graph

# Up to so many rows it takes less time to update all of a table than to sort out which
# rows a step has read (measured: 10,000 rows 2 times, 100,000 rows a tenth of the time).
DENSE_ROWS = 20_000


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
        counts_start: bool. Whether the weights before the first epoch can be the best, where
            they are an answer already. Defaults to `False`.
    """

    learning_rate: float
    epochs: int
    patience: int
    monitor: str
    mode: str
    drops: int = 2
    counts_start: bool = False


def compile_model(model, loss, learning_rate):
    """Makes a model ready for `fit` the way every run trains.

    Batches have one shape, so XLA compiles once; that halves a step on a CPU. With the
    optimizer's variables made beforehand, the step is traced once as well. On several
    devices the model itself compiles what XLA can; see `ReplicatedModel`.

    Args:
        model: keras.Model, built.
        loss: Loss, or `None` where the model brings its own.
        learning_rate: float. Of Adam, which touches only the rows of a step where a
            table is larger than `DENSE_ROWS`.
    """
    devices = Devices.of(model)
    most_rows = max(weight.shape[0] for weight in model.trainable_variables)
    kind = RowSparseAdam if most_rows > DENSE_ROWS else keras.optimizers.Adam
    with devices.scope():
        optimizer = kind(learning_rate)
        model.compile(optimizer, loss=loss, jit_compile=devices.replicas == 1)
        optimizer.build(model.trainable_variables)


def fit(title, model, loss, batches, measure, forward, recipe, folder):
    """Trains a model to its best validation metric; goes on where it was.

    Args:
        title: str. For the progress.
        model: keras.Model.
        loss: Loss, or `None` where the model brings its own.
        batches: tf.data.Dataset of one epoch, the same on all workers.
        measure: Callable that returns the validation metrics as a dict; the chief's count.
        forward: Callable of ids, whose graph TensorBoard shows.
        recipe: Recipe.
        folder: path of the run, for `state`, `history.csv` and the TensorBoard `logs`.

    Returns:
        ResumableTraining; call its `finish` once the result is on disk. The model
        has its best weights.
    """
    devices = Devices.of(model)
    compile_model(model, loss, recipe.learning_rate)
    training = ResumableTraining(
        folder / "state", recipe.monitor, recipe.mode, recipe.patience, recipe.drops
    )
    first = training.restore(model)
    if training.stopped or first >= recipe.epochs:
        training.set_model(model)
        training.load_best()
        return training
    if recipe.counts_start and first == 0:
        start = devices.on_chief(measure)
        training.count_start(model, start[recipe.monitor.removeprefix("val_")])
    vary_dropout(model)
    callbacks = [Validation(lambda: devices.on_chief(measure)), training]
    if devices.is_chief:
        write_graph(forward, folder / "logs" / "train")
        logs = keras.callbacks.TensorBoard(folder / "logs", write_graph=False, profile_batch=0)
        callbacks[1:1] = [logs, HistoryFile(folder)]
        callbacks.append(ProgressLines(title, recipe.monitor, recipe.epochs))
    # One endless stream, gone on with where it was: epoch n has the same batches in a
    # run that was interrupted, and on any number of devices.
    steps = int(batches.cardinality())
    batches = devices.share(batches.repeat().skip(first * steps))
    with contextlib.redirect_stdout(sys.stderr):  # results alone go to stdout
        model.fit(
            batches,
            steps_per_epoch=steps,
            epochs=recipe.epochs,
            initial_epoch=first,
            callbacks=callbacks,
            verbose=0,
            shuffle=False,
        )
    return training
