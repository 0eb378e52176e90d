"""Files and folders that are either whole or not there, also after a power loss.

All that is written takes its name here, in one way: it is made beside that name under one of its
own (see `leftovers`), its content is brought to the disk, it is renamed, and so is the new name
brought to the disk.
"""

import contextlib
import csv
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.leftovers import file_beside, folder_beside
from keras_peterrec.types import AnyPath

# What file systems say that cannot bring a file, or a folder, to the disk.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR)


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """Yields an empty file beside `path`, which takes its place when the block ends well.

    Open it to write, and do not replace it. Whoever reads `path` meanwhile sees the old content or
    the new, never a part, and of several who write it at once each writes a file of its own. If
    the block raises, what was written beside is removed and `path` stays as it was; if the process
    is killed, the next one that writes into the folder removes it.

    Example:

    >>> with replacing("table.csv") as beside:
    ...     beside.write_text("user_id,item_id\\n")
    """
    with file_beside(path) as beside:
        yield beside
        _sync(beside)
        os.replace(beside, path)
        sync_folder(Path(path).parent)


def check_new_folder(name: str, value: AnyPath) -> None:
    """Raises InputError, about the argument `name`, unless a folder is empty or not there yet."""
    if os.path.exists(value) and (not os.path.isdir(value) or os.listdir(value)):
        refuse(name, "a new folder", str(value))


@contextlib.contextmanager
def publishing(out: AnyPath) -> Iterator[Path]:
    """Yields a new folder beside `out`, which takes this name when the block ends well.

    `out` does not exist yet, or is an empty folder. InputError if it appeared meanwhile.
    """
    with folder_beside(out) as folder:
        yield folder
        publish(folder, out)


def publish(folder: AnyPath, out: AnyPath) -> None:
    """Gives a whole folder its name, once all that is in it is on the disk; see `publishing`."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(os.path.join(place, name))
        sync_folder(place)
    try:
        os.rename(folder, out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise InputError(
            f"`out` should be new. Received: {str(out)!r}, which appeared meanwhile."
        ) from error
    sync_folder(Path(out).absolute().parent)


def sync_folder(folder: AnyPath) -> None:
    """Brings the names in a folder to the disk, where that can be done."""
    if os.name != "nt":
        _sync(folder)


def _sync(path):
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written and not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: AnyPath, content: bytes) -> None:
    """Writes a file by `replacing`."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_text(path, text):
    """Writes a text file in UTF-8 by `replacing`, with line ends as they are in `text`."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_csv(path, columns, rows):
    """Writes dicts as a CSV file by `replacing`.

    Keys that are no column are left out, and missing ones stay empty.
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
