"""The exceptions for a user's mistakes, what the machine refuses, and the check of a count."""

import errno
import os
from numbers import Integral
from typing import Any, NoReturn

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What TensorFlow says of them, in errors of its own.
_FULL_TEXTS = ("no space left on device", "disk quota exceeded", "file too large")
# What else a file system answers that no program can help: TensorFlow has the system's words.
_REFUSED = (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENOENT)
_NO_MEMORY_TEXTS = ("oom when allocating", "cannot allocate memory", "failed to allocate memory")
_LONGEST = 1_000  # letters of a message's part that are shown


class InputError(ValueError):
    """What a user gave cannot be used; the message is one clear line.

    The message names the argument, what is allowed and what came:
    "`k` should be a positive integer. Received: `k` = -1." The commands print
    it without a traceback and end with exit status 2. Of a very long value the middle is left
    out.

    Example:

    >>> issubclass(InputError, ValueError)
    True
    """

    def __init__(self, message: str = "") -> None:
        allowed, received, came = str(message).partition("Received: ")
        super().__init__(shortened(allowed) + received + shortened(came))


class Misfit(InputError):
    """What was asked is allowed, but does not go with this data or this host.

    Too few users for a split, a factor that does not divide the channels. An experiment
    leaves such a run out and says so; any other InputError ends it.
    """


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a file system has no room left, whoever raised it."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(text in str(error).lower() for text in _FULL_TEXTS)


def refused_by_machine(error: BaseException) -> str | None:
    """What the machine refused, in one line; `None` of an error that is a fault of ours.

    Files that cannot be read or written, ports that cannot be had and memory that is not there are
    no faults of the program, whoever raised the error: Python, or TensorFlow with its own classes.
    Whatever else is raised is a fault, and deserves its traceback.
    """
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, OSError) and error.errno is not None:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([error.strerror or os.strerror(error.errno), *map(repr, names)])
    if type(error).__module__.partition(".")[0] != "tensorflow":
        return None
    said = " ".join(str(getattr(error, "message", error)).split())
    if any(text in said.lower() for text in _NO_MEMORY_TEXTS):
        return f"there is not enough memory: {said}"
    return said if any(f"; {os.strerror(number)}" in said for number in _REFUSED) else None


def shortened(text: str) -> str:
    """A text without its middle where it is too long to be read."""
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} ... ({len(text) - 2 * half:,} letters left out) ... {text[-half:]}"


def refuse(argument: str, allowed: str, received: Any) -> NoReturn:
    """Raises the InputError that says of one argument what is allowed and what came.

    Example:

    >>> refuse("k", "a positive integer", -1)
    Traceback (most recent call last):
    keras_peterrec.errors.InputError: `k` should be a positive integer. Received: `k` = -1.
    """
    raise InputError(f"`{argument}` should be {allowed}. Received: `{argument}` = {received!r}.")


def check_count(name: str, value: int, least: int = 1) -> int:
    """The value as an int, NumPy's included but not a bool.

    Raises:
        InputError: it is no integer, or less than `least`.
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and value >= least:
        return int(value)
    allowed = {0: "a non-negative integer", 1: "a positive integer"}.get(
        least, f"an integer of at least {least}"
    )
    refuse(name, allowed, value)
