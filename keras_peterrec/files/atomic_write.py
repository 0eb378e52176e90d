"""Files that are either whole or not there."""

import contextlib
import csv
import os
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Yields a path beside `path`, which takes its place when the block ends well.

    Whoever reads `path` meanwhile sees the old content or the new, never a part. If the block
    raises, what was written beside is removed and `path` stays as it was.

    Args:
        path: path of the file to write.

    Example:

    >>> with replacing("table.csv") as beside:
    ...     beside.write_text("user_id,item_id\\n")
    """
    beside = Path(f"{path}.writing")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_text(path, text):
    """Writes a text file in UTF-8 by `replacing`, with line ends as they are in `text`."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_csv(path, columns, rows):
    """Writes a CSV file by `replacing`.

    Args:
        path: path.
        columns: sequence of str, the header.
        rows: iterable of dict; keys that are no column are left out, missing ones stay empty.
    """
    with replacing(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def save_figure(figure, path, dpi=150):
    """Writes a matplotlib Figure as a PNG file by `replacing`.

    Make the figure with `matplotlib.figure.Figure`, not with `pyplot`, whose choice of a backend
    is the whole process', a notebook's included.
    """
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=dpi)
