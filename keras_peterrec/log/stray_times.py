"""Timestamps that leave the clock of all others, as a line does that was cut in the middle."""

import numpy as np

# A time so many times smaller or larger than the median is not from the same clock.
FAR = 3
# The numbers of a clock are large; positions in a sequence begin at 0 or 1.
_LEAST_MIDDLE = 1_000
_LEAST_TIMES = 5
# At most one in so many is a stray; where there are more, the log has another clock.
_ONE_IN = 1_000
_SAMPLE = 10_000


def middle_of(times: np.ndarray) -> float:
    """The median of the times, or of a sample where they are many."""
    return float(np.median(times[:: 1 + len(times) // _SAMPLE])) if len(times) else 0.0


def strays(times: np.ndarray, middle: float | None = None) -> np.ndarray:
    """Which times leave the clock of all others.

    They are three times as far from zero as the middle one, or less than a third, one in a thousand
    at most: such as 1704760 where others are 1704759912, or 9999-12-31.

    Args:
        times: array `[N]` of numbers.
        middle: float or `None`. The middle of the times before these, where these are a small part
            of a log. Defaults to `None`, their own.

    Returns:
        bool array `[N]`.
    """
    none = np.zeros(len(times), bool)
    if middle is None:
        middle = middle_of(times) if len(times) >= _LEAST_TIMES else 0.0
    if middle < _LEAST_MIDDLE or not len(times):
        return none
    if times.min() * FAR >= middle and times.max() <= FAR * middle:
        return none
    found = (times < middle / FAR) | (times > middle * FAR)
    return found if found.sum() <= max(1, len(times) // _ONE_IN) else none


def usual(times: np.ndarray) -> np.ndarray:
    """The times without strays."""
    away = strays(times)
    return times[~away] if away.any() else times
