"""What was measured in every epoch, as a table on disk."""

import csv
from pathlib import Path

import keras

from keras_peterrec.callbacks.learning_rate import learning_rate
from keras_peterrec.files.atomic_write import write_csv

NAME = "history.csv"


class HistoryFile(keras.callbacks.Callback):
    """Writes a row an epoch: its number, the learning rate, the loss, the metrics.

    The file is replaced as a whole after every epoch, so that it is never half a row
    long. A run that goes on keeps the rows of the epochs that it does not repeat: an
    epoch stands there once, however often training was interrupted. Put it before
    `ResumableTraining`, which may change the learning rate for the next epoch.

    Args:
        folder: path of the run.

    Example:

    >>> model.fit(batches, callbacks=[Validation(measure), HistoryFile("runs/host")])
    >>> read_history("runs/host")["val_ndcg@10"]
    [0.021, 0.034]
    """

    def __init__(self, folder):
        super().__init__()
        self.path = Path(folder) / NAME
        self._rows = None

    def on_epoch_end(self, epoch, logs=None):
        if self._rows is None:  # this process' first epoch
            self._rows = [row for row in _read(self.path) if int(row["epoch"]) <= epoch]
        rate = learning_rate(self.model)
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self._rows.append({"epoch": epoch + 1, "learning_rate": rate, **logs})
        columns = dict.fromkeys(name for row in self._rows for name in row)
        write_csv(self.path, columns, self._rows)


def read_history(folder):
    """The history of a run, `{column: [a float for each epoch]}`; empty without one."""
    rows = _read(Path(folder) / NAME)
    return {name: [float(row[name] or "nan") for row in rows] for name in (rows or [{}])[0]}


def _read(path):
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
