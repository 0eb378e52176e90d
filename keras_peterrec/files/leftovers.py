"""Files and folders on the way to their names: held by who writes them, swept when that one died.

What is written has a name of its own, `.NAME.<random>.writing`, beside the name that it will take.
So two writers of one name never write into each other's file, and nobody can plant a link there.
The writer holds a lock on it, which the operating system drops when the process ends, however it
ends: whatever of such a name is not locked was left by a process that died.
"""

import contextlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from keras_peterrec.types import AnyPath

try:
    import fcntl
except ImportError:  # Windows: nothing is held there, so nothing is swept
    fcntl = None

_NAME = re.compile(r"\..+\.[0-9a-f]{32}\.writing", re.DOTALL)
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextlib.contextmanager
def file_beside(path: AnyPath) -> Iterator[Path]:
    """Yields a new, empty file beside a path, removed at the end unless it was renamed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE
    with _held(path, lambda beside: os.open(beside, flags, 0o666)) as beside:
        try:
            yield beside
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_beside(path: AnyPath) -> Iterator[Path]:
    """Yields a new, empty folder beside a path, removed at the end unless it was renamed."""

    def make(beside):
        os.mkdir(beside)
        return os.open(beside, os.O_RDONLY | _SAFE) if fcntl else None

    with _held(path, make) as beside:
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)


@contextlib.contextmanager
def _held(path, make):
    """Yields a new place beside `path`, locked by the descriptor that `make` opens."""
    path = Path(path)
    sweep(path.parent)
    while True:
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.writing")
        descriptor = make(beside)
        if fcntl is None:  # Windows renames nothing that is open
            if descriptor is not None:
                os.close(descriptor)
            yield beside
            return
        if _lock(descriptor) is not False and _is_at(descriptor, beside):
            break
        os.close(descriptor)  # swept before it was locked
    try:
        yield beside
    finally:
        os.close(descriptor)


def sweep(folder: AnyPath) -> None:
    """Removes from a folder what dead processes left half written, and nothing that is held.

    Folders in it are not looked into.
    """
    if fcntl is None:
        return
    try:
        with os.scandir(folder) as entries:
            paths = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for path in paths:
        with contextlib.suppress(OSError):
            _remove_if_dead(path)


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name was to become another."""
    return _NAME.fullmatch(name) is not None


def _remove_if_dead(path):
    kind = os.lstat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        return
    # Some file systems lock only what is open for writing, which folders never are.
    access = os.O_RDONLY if stat.S_ISDIR(kind) else os.O_RDWR
    descriptor = os.open(path, access | _SAFE)
    try:
        if _lock(descriptor) and _is_at(descriptor, path):
            if stat.S_ISDIR(kind):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
    finally:
        os.close(descriptor)


def _lock(descriptor):
    """`True` if it is locked now, `False` if by another, `None` where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor, path):
    """Whether what is open is still what has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
