"""What TensorBoard shows of a training beside Keras' own curves, each in a folder of `logs`.

A file of events has one writer, and TensorBoard reads one file of a folder to its end before the
next. So each callback writes into a folder of its own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_peterrec import progress
from keras_peterrec.training.callbacks import Validation
from keras_peterrec.types import AnyPath

# Points of the loss in an epoch at most, and steps between two of them at least: writing one takes
# as long as a tenth of a short step.
POINTS, BETWEEN = 50, 5
FIRST_PROFILED, PROFILED = 10, 5  # steps; the first are slow for other reasons


def tensorboard_callbacks(
    logs: Path, validation: Validation, show: Callable | None, profile: bool
) -> list[keras.callbacks.Callback]:
    """The callbacks of a training.

    Args:
        logs: path of the run's `logs`.
        validation: Validation of the same training.
        show: see `fit`.
        profile: bool. Whether TensorFlow's profiler watches a few steps.
    """
    steps = FIRST_PROFILED, FIRST_PROFILED + PROFILED - 1
    callbacks = [
        keras.callbacks.TensorBoard(logs, write_graph=False, profile_batch=steps if profile else 0),
        StepLoss(logs / "steps"),
    ]
    if show is not None:
        callbacks.append(ShownExamples(logs / "examples", validation, show))
    if profile:
        where = logs / "train" / "plugins" / "profile"
        progress.line(
            f"profiling steps {steps[0]} to {steps[1]} into {where}; to see it: pip install xprof, "
            "then tensorboard, Profile"
        )
    return callbacks


class StepLoss(keras.callbacks.Callback):
    """Writes the loss several times an epoch, as `step_loss`, the mean since it was last written.

    Keras sums up the losses of an epoch anyway; this reads the sum, up to `POINTS` times an epoch.
    """

    def __init__(self, folder: AnyPath) -> None:
        super().__init__()
        self._writer = tf.summary.create_file_writer(str(folder))
        self._first = 0  # step of this epoch
        self._before = 0.0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._steps = self.params.get("steps") or 1
        self._every = max(BETWEEN, -(-self._steps // POINTS))
        self._first = epoch * self._steps
        self._before = 0.0, 0.0
        self._tracker: Any = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if (batch + 1) % self._every and batch + 1 != self._steps:
            return
        if self._tracker is None:  # made in the first step; looking for it takes a while
            self._tracker = next(m for m in self.model.metrics if m.name == "loss")
        tracker = self._tracker
        # Of this worker's devices alone: the sum over workers would need all of them to ask for it.
        local = self.model.distribute_strategy.experimental_local_results
        total, count = (
            sum(float(keras.ops.convert_to_numpy(value)) for value in local(part.value))
            for part in (tracker.total, tracker.count)
        )
        rows = count - self._before[1]
        if rows > 0:
            with self._writer.as_default(step=self._first + batch + 1):
                tf.summary.scalar("step_loss", (total - self._before[0]) / rows)
        self._before = total, count

    def on_train_end(self, logs: dict | None = None) -> None:
        self._writer.close()


class ShownExamples(keras.callbacks.Callback):
    """Writes a few validation users and their answers as text after each epoch.

    Args:
        validation: Validation, earlier among the callbacks.
        show: Callable of what it measured. Returns Markdown, or `""` for nothing.
    """

    def __init__(self, folder: AnyPath, validation: Validation, show: Callable) -> None:
        super().__init__()
        self._writer = tf.summary.create_file_writer(str(folder))
        self._validation, self._show = validation, show

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        text = self._show(self._validation.measured)
        if text:
            with self._writer.as_default(step=epoch):
                tf.summary.text("validation users", text)

    def on_train_end(self, logs: dict | None = None) -> None:
        self._writer.close()
