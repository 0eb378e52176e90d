"""`history.csv` of a run: a row for each epoch. Read without TensorFlow."""

import csv
from pathlib import Path

from keras_peterrec.types import AnyPath

HISTORY = "history.csv"


def read_history(folder: AnyPath) -> dict[str, list[float]]:
    """The columns of a run's `history.csv`, with one float an epoch; empty if there is no file."""
    rows = read_rows(folder)
    return {name: [float(row[name] or "nan") for row in rows] for name in (rows or [{}])[0]}


def read_rows(folder: AnyPath) -> list[dict]:
    """The rows as they are written, a list of dict of str; empty if there is no file."""
    path = Path(folder) / HISTORY
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
