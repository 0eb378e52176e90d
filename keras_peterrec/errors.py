"""The exceptions for a user's mistakes, a full disk, and the check of a count."""

import errno
from numbers import Integral

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What TensorFlow says of them, in errors of its own.
_FULL_TEXTS = ("no space left on device", "disk quota exceeded", "file too large")


class InputError(ValueError):
    """What a user gave cannot be used; the message is one clear line.

    The message names the argument, what is allowed and what came:
    "`k` should be a positive integer. Received: `k` = -1." The commands print
    it without a traceback and end with exit status 2.
    """


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


def check_count(name: str, value: int, least: int = 1) -> int:
    """Checks that an argument is an integer and not too small.

    Args:
        name: str. The argument's name, for the message.
        value: int. NumPy's integers are allowed, bools are not.
        least: int. The smallest value allowed. Defaults to `1`.

    Returns:
        The value as an int.

    Raises:
        InputError: if `value` is not an integer, or less than `least`.

    Example:

    >>> check_count("k", 5)
    5
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and value >= least:
        return int(value)
    allowed = {0: "a non-negative integer", 1: "a positive integer"}.get(
        least, f"an integer of at least {least}"
    )
    raise InputError(f"`{name}` should be {allowed}. Received: `{name}` = {value!r}.")
