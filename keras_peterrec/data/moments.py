"""A moment in the clock of a log, as `--split time:MOMENT` names it."""

import datetime
import math

from keras_peterrec.errors import InputError

PREFIX = "time:"
# Units of clocks that count since 1970, and from which size of their numbers on they are meant.
# Seconds reach 10^11 in the year 5138, and milliseconds did in 1973.
_UNITS = ((1e17, 10**9), (1e14, 10**6), (1e11, 10**3), (0.0, 1))


def is_moment(split: str) -> bool:
    """Whether a split is by time."""
    return split.startswith(PREFIX)


def check_split(other: str):
    """A check of the setting `split`: it is `other`, or `time:` and a date or a number."""

    def check(name, value):
        if value != other and not (is_moment(value) and _parsed(value) is not None):
            raise InputError(
                f"`{name}` should be {other!r}, or 'time:' and a date such as 2026-09-01 or a "
                f"number of the log's clock. Received: `{name}` = {value!r}."
            )

    return check


def in_clock(split: str, largest: float) -> float:
    """The moment of a split, as a number of a log's clock.

    A date is the start of that day in UTC, and the log is taken to count seconds, milliseconds,
    microseconds or nanoseconds since 1970, as the size of its timestamps tells.

    Args:
        split: str, such as `"time:2026-09-01"`, `"time:2026-09-01T12:00+02:00"` or
            `"time:881250949"`.
        largest: number. The log's largest timestamp.

    Example:

    >>> in_clock("time:1970-01-02", largest=1_700_000_000)
    86400
    """
    moment = _parsed(split)
    if not isinstance(moment, datetime.datetime):
        return moment
    unit = next(unit for size, unit in _UNITS if abs(largest) >= size)
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return since // datetime.timedelta(microseconds=1) * unit // 10**6


def _parsed(split):
    """A number, or a datetime with its time zone; `None` for anything else."""
    text = split.removeprefix(PREFIX).strip()
    for read in (int, float, datetime.datetime.fromisoformat):
        try:
            moment = read(text)
        except ValueError:
            continue
        if isinstance(moment, datetime.datetime):
            return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return moment if math.isfinite(moment) else None
    return None
