"""How every stage is trained: the same optimizer, callbacks and way to continue."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_peterrec import progress
from keras_peterrec.log.streamed_batches import StreamedBatches
from keras_peterrec.optimizers.flat_adam import FlatAdam
from keras_peterrec.optimizers.row_sparse_adam import RowSparseAdam
from keras_peterrec.settings.training import TrainingSettings
from keras_peterrec.training.callbacks import HistoryFile, ProgressLines, Validation
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.inference import write_graph
from keras_peterrec.training.replicated_model import vary_dropout
from keras_peterrec.training.resumable_training import RepeatedTraining, ResumableTraining
from keras_peterrec.training.tensorboard import tensorboard_callbacks
from keras_peterrec.training.weight_average import WeightAverage
from keras_peterrec.types import AnyPath, Loss, Model, Tensor

# The largest table that is updated as a whole. Updating only the rows of a step first has to
# sort them, which costs more on a small table: measured, a step by rows takes twice as long
# at 10,000 rows, and a tenth as long at 100,000.
DENSE_ROWS = 20_000
# XLA takes some two seconds to compile a step, and then saves about half of its time. So it pays
# where a training takes more operations than two cores do in six seconds.
COMPILED_FROM = 3e11
USUAL_EPOCHS = 10  # until a training stops by itself


@dataclass(frozen=True)
class Recipe:
    """How a stage is trained.

    Args:
        learning_rate: float. Of Adam, at the start.
        epochs: int. At most.
        patience: int. Epochs without a better validation metric before the learning
            rate drops; see `ResumableTraining`.
        monitor: str or `None`. The metric that decides, such as `"val_ndcg@10"`; `None`: none.
        mode: str. `"max"` or `"min"`.
        drops: int. How often the learning rate drops before training stops.
            Defaults to `2`.
        counts_start: bool. Whether the weights before the first epoch may turn out the
            best, where they already are a sensible answer. Defaults to `False`.
        gives_up: int or `None`. See `ResumableTraining`. Defaults to `None`.
        average: float or `None`. The decay of a `WeightAverage`: what is measured and kept is
            then the average of the weights. Defaults to `None`, the weights themselves.
        path: tuple of int or `None`. Epochs at each learning rate, as an earlier training found
            them best: `epochs` is then their sum, and nothing is measured. Defaults to `None`.
        steps: int or `None`. Steps of an epoch. Defaults to `None`, all batches once.
        least_gain: float. See `ResumableTraining`. Defaults to `0.02`.
        finish: bool. Whether an interrupted training ends where it is. Defaults to `False`.
        usual: two ints or `None`. How many epochs such a training mostly has; see `ProgressLines`.
            Defaults to `None`.
    """

    learning_rate: float
    epochs: int
    patience: int
    monitor: str | None
    mode: str
    drops: int = 2
    counts_start: bool = False
    gives_up: int | None = None
    average: float | None = None
    path: tuple | None = None
    steps: int | None = None
    least_gain: float = TrainingSettings.least_gain
    finish: bool = False
    usual: tuple[int, int] | None = None

    def again(self, path: Sequence[int]) -> "Recipe":
        """The same recipe for a training that repeats the way to the best weights.

        Args:
            path: sequence of int, `best_path` of the earlier training's `metrics.json`.
        """
        epochs = sum(path)
        return dataclasses.replace(
            self,
            epochs=epochs,
            path=tuple(path),
            monitor=None,
            counts_start=False,
            usual=(epochs, epochs),
        )

    def training(
        self, folder: AnyPath, average: WeightAverage | None, asked_in: AnyPath | None
    ) -> ResumableTraining:
        """The callback that decides when training ends; see `ResumableTraining`."""
        if self.path is not None:
            return RepeatedTraining(folder, self.path, self.learning_rate, average=average)
        return ResumableTraining(
            folder,
            self.monitor,
            self.mode,
            self.patience,
            self.drops,
            average=average,
            least_gain=self.least_gain,
            gives_up=self.gives_up,
            asked_in=asked_in,
        )


def compile_model(
    model: Model, loss: Loss | None, learning_rate: float, jit_compile: bool = True
) -> None:
    """Compiles a model the way every run trains it.

    The optimizer's variables are made here rather than in the first step, so that the step is
    traced only once.

    Args:
        model: keras.Model, built.
        loss: keras.losses.Loss, or `None` if the model has its own.
        learning_rate: float. Of Adam; of `RowSparseAdam` if a table has more than
            `DENSE_ROWS` rows.
        jit_compile: bool. Whether XLA compiles the loss and the gradients. Defaults to `True`.
    """
    devices = Devices.of(model)
    most_rows = max(weight.shape[0] for weight in model.trainable_variables)
    with devices.scope():
        if most_rows > DENSE_ROWS:
            optimizer = RowSparseAdam(learning_rate, flat_values=DENSE_ROWS, compilable=False)
        else:
            optimizer = FlatAdam(learning_rate, flat_values=DENSE_ROWS)
        model.compile(optimizer, loss=loss, jit_compile=jit_compile)
        optimizer.build(model.trainable_variables)
        for variable, rows in model.frozen_rows():
            optimizer.freeze_rows(variable, rows)


def worth_compiling(model: Model, batches: tf.data.Dataset, epochs: int) -> bool:
    """Whether a training is so long that compiling its step pays; all batches have one shape.

    Args:
        batches: tf.data.Dataset of one epoch.
        epochs: int. At most.
    """
    inputs = keras.tree.flatten(batches.element_spec[0])
    positions = sum(
        spec.shape.num_elements() if spec.dtype.is_integer else spec.shape[0] for spec in inputs
    )
    # Of a table a step reads single rows; every other weight is multiplied with every position,
    # once forward and twice backward.
    unused = set(map(id, model.unused_variables()))
    weights = [
        w for w in model.weights if not w.path.endswith("/embeddings") and id(w) not in unused
    ]
    operations = 6 * positions * sum(weight.shape.num_elements() for weight in weights)
    return operations * int(batches.cardinality()) * min(epochs, USUAL_EPOCHS) > COMPILED_FROM


def fit(
    title: str,
    model: Model,
    loss: Loss | None,
    batches: tf.data.Dataset | StreamedBatches,
    measure: Callable[[], Mapping[str, float]] | None,
    forward: Callable[..., Tensor],
    recipe: Recipe,
    folder: Path,
    show: Callable[[Any], str] | None = None,
    profile: bool = False,
    asked_in: AnyPath | None = None,
) -> ResumableTraining:
    """Trains a model to its best validation metric; continues an interrupted training.

    Args:
        title: str. What the progress calls the training.
        loss: keras.losses.Loss, or `None` if the model has its own.
        batches: tf.data.Dataset of one epoch, the same on all workers; or StreamedBatches.
        measure: Callable. Returns the validation metrics as a dict. Only the chief calls it. Not
            called by a recipe with a `path`.
        forward: Callable of ids, whose graph TensorBoard shows.
        folder: path. The run folder, for `state`, `history.csv` and TensorBoard's `logs`.
        show: Callable or `None`. Turns what `measure` returned into Markdown, which TensorBoard
            shows epoch by epoch. Defaults to `None`.
        profile: bool. Whether TensorFlow's profiler watches a few steps. Defaults to `False`.
        asked_in: path or `None`. The folder in which somebody may ask for the end. Defaults to
            `None`, `folder`.

    Returns:
        ResumableTraining. The model has its best weights; call `finish` on the training
        once the result is on disk.
    """
    devices = Devices.of(model)
    compiles = worth_compiling(model, batches, recipe.epochs)
    compile_model(model, loss, recipe.learning_rate, compiles)
    average = WeightAverage(model, recipe.average) if recipe.average else None
    training = recipe.training(folder / "state", average, asked_in or folder)
    first = training.restore(model)
    if _is_over(training, first, title, recipe, devices):
        training.set_model(model)
        training.load_best()
        return training
    if recipe.counts_start and first == 0:
        start = devices.on_chief(measure)
        training.count_start(model, start[recipe.monitor.removeprefix("val_")])
    vary_dropout(model)

    def validate():
        with contextlib.nullcontext() if average is None else average.in_use():
            return devices.on_chief(measure)

    validation = Validation(validate)
    said = recipe.monitor, recipe.epochs, lambda: training.told, recipe.usual
    lines = ProgressLines(title, *said)
    shown = []
    if devices.is_chief:
        with progress.stage(f"{title}  compiling", brief=True):
            write_graph(forward, folder / "logs" / "train")
        shown = tensorboard_callbacks(folder / "logs", validation, show, profile)
        shown.append(HistoryFile(folder))
    # Each reads what those before it have measured and added to the logs.
    measuring = validation if recipe.path is None else None
    callbacks = [average, measuring, *shown, training, lines if devices.is_chief else None]
    steps = recipe.steps or int(batches.cardinality())
    stream, own_errors = _stream(batches, devices, first * steps)
    to_stderr = contextlib.redirect_stdout(sys.stderr)  # stdout is for results
    with contextlib.closing(lines), own_errors, to_stderr:
        model.fit(
            stream,
            steps_per_epoch=steps,
            epochs=recipe.epochs,
            initial_epoch=first,
            callbacks=[callback for callback in callbacks if callback is not None],
            verbose=0,
            shuffle=False,
        )
    if devices.is_chief and training.still_rising:
        progress.line(
            f"{title}  {recipe.monitor} still improved when its epochs were over: more than "
            f"{recipe.epochs} (--epochs) may give better answers"
        )
    return training


def _is_over(training, first, title, recipe, devices):
    """Whether nothing is to be trained: it has stopped, or was interrupted after its last epoch."""
    if recipe.finish and recipe.path is None:
        training.finish_now()
        if devices.is_chief:
            progress.line(f"{title}  ends with epoch {training.state['epoch']} (--finish)")
    return training.stopped or first >= recipe.epochs


def _stream(batches, devices, step):
    """One endless stream of batches from a step on, and a context for the errors of reading it.

    So epoch n has the same batches whether or not the run was interrupted, and on any number of
    devices.
    """
    if isinstance(batches, StreamedBatches):
        stream = devices.share(batches.from_step(step), of_worker=True)
        return stream, batches.own_errors()
    return devices.share(batches.repeat().skip(step)), contextlib.nullcontext()
