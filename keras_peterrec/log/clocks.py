"""What the numbers of a clock count: seconds since 1970, milliseconds, days, or only an order.

A few times may leave the clock of all others, as a line does that was cut in the middle: strays.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from keras_peterrec.errors import InputError

# Ticks of a second, by what a clock is called; all of a column's numbers lie within these years.
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_FIRST, _LAST = 315_532_800, 4_102_444_800  # 1980 to 2100, in seconds
_DAY = 86_400
# A time so many times smaller or larger than the median is not from the same clock.
FAR = 3
# The numbers of a clock are large; positions in a sequence begin at 0 or 1.
_LEAST_MIDDLE = 1_000
_LEAST_TIMES = 5
# At most one in so many is a stray; where there are more, the log has another clock.
_ONE_IN = 1_000
_SAMPLE = 10_000


def unit_of(times: np.ndarray) -> str | None:
    """What the numbers count since 1970, if all of them can: `"seconds"`, `"milliseconds"`, ...

    A few that leave the clock of all others do not count; see `usual`. `None` where they are
    something else, such as positions in a sequence.
    """
    if len(times) == 0:
        return None
    unit = _unit_between(times.min(), times.max())
    if unit is None:
        others = usual(times)
        unit = _unit_between(others.min(), others.max())
    return unit


def _unit_between(low, high):
    return next((u for u, n in UNITS.items() if _FIRST * n <= low and high <= _LAST * n), None)


def in_seconds(times: np.ndarray, unit: str) -> np.ndarray:
    """Times of a unit as seconds: int64 where all are whole, else float64."""
    ticks = UNITS[unit]
    if ticks == 1:
        return times
    if times.dtype == np.int64 and not np.any(times % ticks):
        return times // ticks
    return times / ticks


def milliseconds(times: np.ndarray, unit: str) -> np.ndarray:
    """Times of a unit, or differences of such, as whole milliseconds, int64."""
    ticks = UNITS[unit]
    return np.round(times * (1_000 / ticks) if ticks < 1_000 else times / (ticks / 1_000)).astype(
        "int64"
    )


def time_text(time: Any, unit: str | None) -> str:
    """One time for people: its date where the unit is known."""
    if unit is None:
        return f"{time:g}" if isinstance(time, float) else str(time)
    moment = datetime.fromtimestamp(float(time) / UNITS[unit], UTC)
    return moment.date().isoformat()


def is_fine(times: np.ndarray, unit: str | None) -> bool:
    """Whether a clock can tell a user's events apart: it is known, and counts more than days."""
    return unit is not None and bool(np.any(usual(times) % (_DAY * UNITS[unit])))


def middle_of(times: np.ndarray) -> float:
    """The median of the times, or of a sample where they are many."""
    return float(np.median(times[:: 1 + len(times) // _SAMPLE])) if len(times) else 0.0


def strays(times: np.ndarray, middle: float | None = None) -> np.ndarray:
    """Which times leave the clock of all others, bool `[N]`.

    They are three times as far from zero as the middle one, or less than a third, one in a thousand
    at most: such as 1704760 where others are 1704759912, or 9999-12-31. `middle` is that of the
    times before these, where these are a small part of a log; `None` for their own.
    """
    none = np.zeros(len(times), bool)
    if middle is None:
        middle = middle_of(times) if len(times) >= _LEAST_TIMES else 0.0
    if middle < _LEAST_MIDDLE or not len(times):
        return none
    if times.min() * FAR >= middle and times.max() <= FAR * middle:
        return none
    stray = (times < middle / FAR) | (times > middle * FAR)
    return stray if stray.sum() <= max(1, len(times) // _ONE_IN) else none


def usual(times: np.ndarray) -> np.ndarray:
    """The times without strays."""
    away = strays(times)
    return times[~away] if away.any() else times


@dataclass(frozen=True)
class Clock:
    """The timestamps of some events.

    `low` and `high` are the first and the last time, without strays. `fine` says for each of
    `UNITS` whether they count more than days, if that is what they are.
    """

    rows: int
    low: Any
    high: Any
    fine: tuple

    @classmethod
    def of(cls, times: np.ndarray, middle: float | None = None) -> "Clock":
        """The Clock of an array of numbers, `[N]` with N > 0; `middle` as that of `strays`."""
        count, away = len(times), strays(times, middle)
        times = times if away.all() else times[~away]
        fine = tuple(is_fine(times, unit) for unit in UNITS)
        return cls(count, times.min().item(), times.max().item(), fine)

    def __add__(self, other: "Clock") -> "Clock":
        fine = tuple(a or b for a, b in zip(self.fine, other.fine))
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Clock(self.rows + other.rows, low, high, fine)

    @property
    def unit(self) -> str | None:
        """See `unit_of`."""
        return unit_of(np.array([self.low, self.high]))

    def content(self) -> dict:
        """JSON values from which `Clock(**content)` makes it again."""
        return asdict(self)


def check_one_clock(found: Sequence[tuple], argument: str) -> None:
    """Raises InputError if the numbers of some inputs count since 1970, and those of others do not.

    Found are tuples of an input's unit, its first and last time, and its name.
    """
    known = next((input_ for input_ in found if input_[0]), None)
    other = next((input_ for input_ in found if not input_[0]), None)
    if known is not None and other is not None:
        _, low, high, name = other
        raise InputError(
            f"`{argument}` should be on one clock in all files. Received: {known[0]} in "
            f"{known[-1]}, and {low:g} to {high:g} in {name}."
        )


@dataclass(frozen=True)
class Clocks:
    """How the timestamps of all inputs are read.

    `units` has the unit of each input, or is `None` where they come on one clock. `distinct` says
    whether events that repeat user, item and time are dropped.
    """

    units: tuple | None = None
    distinct: bool = False

    @classmethod
    def of(cls, clocks: Sequence[Clock | None], names: Sequence[str]) -> "Clocks":
        """The Clocks of inputs, `None` for one without events.

        Raises:
            InputError: there is no event, or the clocks cannot be told apart.
        """
        named = [(clock, name) for clock, name in zip(clocks, names) if clock is not None]
        if not named:
            raise InputError("`log` should have events. Received: none of the kinds asked for.")
        units = {clock.unit for clock, _ in named}
        fine = any(c.unit and c.fine[[*UNITS].index(c.unit)] for c, _ in named)
        if len(units) == 1:
            return cls(None, fine)
        check_one_clock([(c.unit, c.low, c.high, name) for c, name in named], "timestamp")
        return cls(tuple("seconds" if c is None else c.unit for c in clocks), fine)
