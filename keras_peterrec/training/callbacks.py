"""Small callbacks: validation metrics, the table of epochs, progress on stderr."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_peterrec import progress
from keras_peterrec.files.atomic_write import write_csv
from keras_peterrec.files.history_file import HISTORY, read_rows
from keras_peterrec.types import AnyPath, Model

# Seconds of steps by which the time of a training is estimated, and how long it has to be at most
# for a line about it.
TIMED_SECONDS, WORTH_TELLING = 3.0, 120.0


class Validation(keras.callbacks.Callback):
    """Measures validation metrics after each epoch and adds them to the logs.

    Each metric appears as `val_<name>`. Put this callback first: the callbacks after it
    (early stopping, TensorBoard) then see the values.

    Args:
        measure: Callable. Takes no arguments and returns a dict of floats.

    Attributes:
        measured: what `measure` returned last.

    Example:

    >>> validation = Validation(lambda: {"ndcg@10": 0.3})  # what `TaskData.measure` returns
    >>> validation.on_epoch_end(0, logs := {})
    >>> logs
    {'val_ndcg@10': 0.3}
    """

    def __init__(self, measure: Callable[[], dict]) -> None:
        super().__init__()
        self.measure = measure
        self.measured: Any = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with progress.stage("measuring validation users", brief=True, repeated=True):
            self.measured = self.measure()
        logs.update({f"val_{name}": value for name, value in self.measured.items()})


class HistoryFile(keras.callbacks.Callback):
    """Writes one row per epoch to `history.csv`: learning rate, loss and metrics.

    The whole file is replaced after every epoch, so it never ends in half a row. A
    resumed run keeps the rows of the epochs that it does not repeat, so each epoch
    appears once however often training was interrupted. Put this callback before
    `ResumableTraining`, which may already change the learning rate for the next epoch.

    Args:
        folder: path. The run folder.

    Example:

    >>> model.fit(batches, callbacks=[Validation(measure), HistoryFile("runs/host")])
    >>> read_history("runs/host")["val_ndcg@10"]
    [0.021, 0.034]
    """

    def __init__(self, folder: AnyPath) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._rows: list[dict] | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self._rows is None:  # the first epoch of this process
            self._rows = [row for row in read_rows(self.folder) if int(row["epoch"]) <= epoch]
        rate = learning_rate(self.model)
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self._rows.append({"epoch": epoch + 1, "learning_rate": rate, **logs})
        columns = dict.fromkeys(name for row in self._rows for name in row)
        write_csv(self.folder / HISTORY, columns, self._rows)


class ProgressLines(keras.callbacks.Callback):
    """Prints a line for compiling and for each epoch; on a terminal a bar shows the steps.

    The first step takes seconds, since Keras traces it and XLA compiles it. They are told apart
    from the first epoch's.

    Args:
        title: str. What is being trained.
        monitor: str or `None`. Key of the logs to show beside the loss.
        epochs: int. The maximum number of epochs.
        told: Callable without arguments. What else there is to say of an epoch, or `""`. Defaults
            to nothing.
        usual: two ints or `None`. How many epochs such a training mostly has, at least and at most.
            After its first steps a line then says how long it will probably take. Defaults to
            `None`: no line.
    """

    def __init__(
        self,
        title: str,
        monitor: str | None,
        epochs: int,
        told: Callable[[], str] = lambda: "",
        usual: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.told = told
        self._to_estimate = usual
        self.title = title
        self.monitor = monitor
        self.epochs = epochs
        self._shown = contextlib.ExitStack()
        self._advance = lambda: None
        self._epoch: int | None = None
        self._epoch_began = 0.0
        self._first_step = -1  # the step since which an epoch is timed; -1 is its beginning
        self._compiled = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._shown.enter_context(progress.stage(f"{self.title}  compiling", brief=True))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        self._epoch_began, self._first_step = time.perf_counter(), -1
        if self._compiled:
            self._show_bar()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not self._compiled:
            self._compiled = True
            now = time.perf_counter()
            self.close()
            progress.line(f"{self.title}  compiling ... {now - self._epoch_began:.1f} s")
            self._epoch_began = now
            self._first_step = batch
            self._show_bar()
        self._advance()
        if self._to_estimate is not None:
            self._estimate(batch)
        if batch + 1 == self.params.get("steps"):  # validation comes next and shows itself
            self.close()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.close()
        seconds = time.perf_counter() - self._epoch_began
        best = "  best so far" if logs.get("improved") else ""
        measured = f"{self.monitor} {logs[self.monitor]:.4f}  " if self.monitor else ""
        progress.line(
            f"{self.title}  epoch {epoch + 1:>2}/{self.epochs}  loss {logs['loss']:.4f}  "
            f"{measured}{seconds:.1f} s{best}"
        )
        if text := self.told():
            progress.line(f"{self.title}  {text}")

    def close(self) -> None:
        """Removes what the terminal shows, also where training was interrupted."""
        self._shown.close()
        self._advance = lambda: None

    def _estimate(self, batch):
        """Says once how long training will probably take, by its first seconds.

        The steps are timed where they run, on this machine and with this data, since what a step
        costs cannot be told from the network's size alone.
        """
        passed = time.perf_counter() - self._epoch_began
        if passed < TIMED_SECONDS:
            return
        epochs = [min(number, self.epochs) for number in self._to_estimate]
        self._to_estimate = None
        seconds = passed / (batch - self._first_step) * (self.params.get("steps") or 0)
        if max(epochs) * seconds >= WORTH_TELLING:
            minutes = _from_to(f"{number * seconds / 60:.0f}" for number in epochs)
            progress.line(
                f"{self.title}  about {seconds:.0f} s an epoch; such a training mostly ends after "
                f"{_from_to(map(str, epochs))} epochs: {minutes} minutes"
            )

    def _show_bar(self):
        text = f"{self.title}  epoch {self._epoch + 1:>2}/{self.epochs}"
        steps = self.params.get("steps")
        self._advance = self._shown.enter_context(progress.bar(text, steps, repeated=True))


def _from_to(ends):
    """Two numbers as a range, or as one where they are the same."""
    return " to ".join(dict.fromkeys(ends))


def learning_rate(model: Model) -> Any:
    """The learning rate of the model's next step, as a float."""
    # Through NumPy, because float() fails on a variable that several devices mirror.
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
