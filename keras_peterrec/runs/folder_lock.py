"""Which process works in a folder: one at a time."""

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None

from keras_peterrec.errors import InputError

NAME = ".lock"
_held = {}  # the open lock file of each folder that this process works in


def lock(folder):
    """Keeps other processes out of a folder until `unlock`, or this process' end.

    In the process that works there already it does nothing, nor where there is no `flock`.

    Args:
        folder: path of a folder that exists.

    Raises:
        InputError: another process works there.
    """
    path = Path(folder).resolve() / NAME
    if fcntl is None or path in _held:
        return
    file = open(path, "a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        process = file.read().strip()
        file.close()
        raise InputError(
            "`out` should be a folder that no other process works in. "
            f"Received: {str(folder)!r}, where process {process} does."
        ) from error
    except OSError:
        pass  # a file system without locks
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        file.close()  # unlocked, and so removed, by another process just now
        return lock(folder)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _held[path] = file


def unlock(folder):
    """Lets other processes in; of a folder that was not locked, nothing happens."""
    path = Path(folder).resolve() / NAME
    file = _held.pop(path, None)
    if file is not None:
        path.unlink(missing_ok=True)
        file.close()
