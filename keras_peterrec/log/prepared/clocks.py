"""What the timestamps of a log's inputs count, found out without holding them.

As `read_log` does in memory: inputs of seconds and of milliseconds come on one clock, and exact
duplicates are dropped where the clock is finer than days.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.stray_times import strays
from keras_peterrec.log.timestamps import UNITS, is_fine, unit_of


@dataclass(frozen=True)
class Clock:
    """The timestamps of some events.

    Args:
        rows: int. How many there are.
        low, high: the first and the last time, without those that leave the clock of the others.
        fine: tuple of bool. Whether they count more than days, if they are of each of `UNITS`.
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


@dataclass(frozen=True)
class Clocks:
    """How the timestamps of all inputs are read.

    Args:
        units: tuple of str, that of each input, where they come on one clock; else `None`.
        distinct: bool. Whether events that repeat user, item and time are dropped.
    """

    units: tuple | None = None
    distinct: bool = False

    @classmethod
    def of(cls, clocks: Sequence[Clock | None], names: Sequence[str]) -> "Clocks":
        """The Clocks of inputs, `None` for one without events.

        Raises:
            InputError: there is no event, or the clocks cannot be told apart.
        """
        found = [(clock, name) for clock, name in zip(clocks, names) if clock is not None]
        if not found:
            raise InputError("`log` should have events. Received: none of the kinds asked for.")
        units = {clock.unit for clock, _ in found}
        fine = any(c.unit and c.fine[[*UNITS].index(c.unit)] for c, _ in found)
        if len(units) == 1:
            return cls(None, fine)
        if None in units:
            known = next((c, name) for c, name in found if c.unit)
            other = next((c, name) for c, name in found if not c.unit)
            raise InputError(
                f"`timestamp` should be on one clock in all files. Received: {known[0].unit} in "
                f"{known[1]}, and {other[0].low:g} to {other[0].high:g} in {other[1]}."
            )
        return cls(tuple("seconds" if c is None else c.unit for c in clocks), fine)
