"""Moments: dates and numbers, in whatever unit a log counts time."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.moments import check_split, in_clock

DAY = 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-09-01", 1_788_220_800),
        ("2026-09-01T12:00", 1_788_220_800 + DAY // 2),
        ("2026-09-01T12:00+02:00", 1_788_220_800 + DAY // 2 - 7_200),
        ("1969-12-31", -DAY),
    ],
)
@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_dates_are_in_the_logs_unit(text, seconds, unit):
    assert (
        in_clock(f"time:{text}", np.array([1_700_000_000, 1_788_220_800]) * unit) == seconds * unit
    )


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("-3", -3), ("2.5", 2.5), ("1e3", 1000.0)])
def test_numbers_are_those_of_the_clock(text, number):
    assert in_clock(f"time:{text}", np.array([10**12])) == number


@pytest.mark.parametrize("split", ["", "time:", "time:soon", "time:nan", "time:inf", "Last"])
def test_anything_else_is_refused(split):
    with pytest.raises(InputError, match="`split` should be 'last', or 'time:'"):
        check_split("last")("split", split)


def test_words_and_moments_are_allowed():
    for split in ("last", "time:3", "time:2026-09-01"):
        check_split("last")("split", split)
