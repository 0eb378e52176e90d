"""Progress on stderr."""

import sys
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressLines(keras.callbacks.Callback):
    """A bar within an epoch, where stderr is a terminal, and a line after it.

    Args:
        title: str. What is trained.
        monitor: str. Key of the logs to show beside the loss.
        epochs: int. Most epochs that may run.
    """

    def __init__(self, title, monitor, epochs):
        super().__init__()
        self.title = title
        self.monitor = monitor
        self.epochs = epochs
        self.console = Console(stderr=True, highlight=False)
        self._bar = None

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()
        if not sys.stderr.isatty():
            return
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self.console, transient=True)
        self._task = self._bar.add_task(
            f"{self.title}  epoch {epoch + 1}", total=self.params.get("steps")
        )
        self._bar.start()

    def on_train_batch_end(self, batch, logs=None):
        if self._bar is not None:
            self._bar.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        self._stop_bar()
        seconds = time.perf_counter() - self._began
        best = "  best so far" if logs.get("improved") else ""
        self.console.print(
            f"{self.title}  epoch {epoch + 1:>2}/{self.epochs}  loss {logs['loss']:.4f}  "
            f"{self.monitor} {logs[self.monitor]:.4f}  {seconds:.1f} s{best}"
        )

    def on_train_end(self, logs=None):
        self._stop_bar()

    def _stop_bar(self):
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
