"""A moment in the clock of a log, as `--split time:MOMENT` names it."""

import datetime
import math
from typing import Any

from keras_peterrec.errors import refuse

PREFIX = "time:"


def is_moment(split: str) -> bool:
    """Whether a split is by time."""
    return split.startswith(PREFIX)


def check_split(other: str):
    """A check of the setting `split`: it is `other`, or `time:` and a date or a number."""

    def check(name, value):
        if value != other and not (is_moment(value) and _parsed(value) is not None):
            refuse(
                name,
                f"{other!r}, or 'time:' and a date such as 2026-09-01 or a number of the log's "
                "clock",
                value,
            )

    return check


def in_clock(split: str, times: Any) -> float:
    """The moment of a split, as a number of a log's clock, of which `times` are some.

    The split is such as `"time:2026-09-01"`, `"time:2026-09-01T12:00+02:00"` or
    `"time:881250949"`. A date is the start of that day in UTC, in the unit that the log counts
    since 1970; see `unit_of`. Where that is not known, it counts seconds.

    Example:

    >>> in_clock("time:2026-09-01", np.array([1_700_000_000_000]))
    1788220800000
    """
    from keras_peterrec.log.clocks import UNITS, unit_of  # only here: settings are light

    moment = _parsed(split)
    if not isinstance(moment, datetime.datetime):
        return moment
    ticks = UNITS[unit_of(times) or "seconds"]
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return since // datetime.timedelta(microseconds=1) * ticks // 10**6


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
