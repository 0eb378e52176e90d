"""Which process works in a folder: one at a time."""

import contextlib
from pathlib import Path

import filelock

from keras_peterrec.errors import InputError

NAME = ".lock"


def is_held_elsewhere(folder):
    """Whether another process works in a folder."""
    try:
        with locked(folder):
            return False
    except InputError:
        return True


@contextlib.contextmanager
def locked(folder, argument="out"):
    """Keeps other processes out of a folder while the block runs, however the block ends.

    The process that holds a folder may lock it again; the last block to end lets go. A killed
    process lets go as well: the operating system drops its locks.

    Args:
        folder: path of a folder that exists.
        argument: str. What the message calls the folder. Defaults to `"out"`.

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
            f"`{argument}` should be a folder that no other process works in. "
            f"Received: {str(folder)!r}, where another process does."
        ) from error
    except NotImplementedError:  # a file system without locks
        yield
        return
    try:
        yield
    finally:
        lock.release()
