"""Which process works in a folder: one at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from keras_peterrec.errors import InputError
from keras_peterrec.types import AnyPath

NAME = ".lock"


def is_held_elsewhere(folder: AnyPath) -> bool:
    """Whether another process works in a folder."""
    try:
        with locked(folder):
            return False
    except InputError:
        return True


@contextlib.contextmanager
def locked(folder: AnyPath) -> Iterator[None]:
    """Keeps other processes out of a folder that exists while the block runs, however it ends.

    The process that holds a folder may lock it again; the last block to end lets go. A killed
    process lets go as well: the operating system drops its locks.

    Raises:
        InputError: another process works there.
    """
    # One object for each path in this process, so that a lock held already counts up.
    lock = filelock.FileLock(
        Path(folder).resolve() / NAME, timeout=0, is_singleton=True, thread_local=False
    )
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise InputError(
            "`out` should be a folder that no other process works in. "
            f"Received: {str(folder)!r}, where another process does."
        ) from error
    except NotImplementedError:  # a file system without locks
        yield
        return
    try:
        yield
    finally:
        lock.release()
