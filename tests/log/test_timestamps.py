"""Times as numbers, as text in several forms, and of Arrow's types."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.log.clocks import time_text, unit_of
from keras_peterrec.log.timestamps import read_times

MOMENT = datetime(2026, 1, 31, 13, 5, 30, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())
DAY = SECONDS - SECONDS % 86_400


def times_of(*columns):
    arrays = [column if isinstance(column, pa.Array) else pa.array(column) for column in columns]
    names = [f"{letter}.csv" for letter in "abc"[: len(columns)]]
    return read_times([pa.chunked_array([array]) for array in arrays], names, "timestamp")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", DAY),
        ("2026-01-31T13:05:30Z", SECONDS),
        ("2026-01-31 13:05:30", SECONDS),
        ("2026-01-31 13:05", SECONDS - 30),
        ("2026-01-31T13:05:30.25", SECONDS + 0.25),
        ("2026-01-31T13:05:30.250000000Z", SECONDS + 0.25),
        ("2026-01-31T14:05:30+01:00", SECONDS),
        ("2026-01-31T14:05:30 +0100", SECONDS),
        ("2026-01-31T09:05:30-04", SECONDS),
        ("2026-01-31 13:05:30 UTC", SECONDS),
        ("2026/01/31", DAY),
        ("2026/1/31 13:05:30", SECONDS),
        ("31.01.2026", DAY),
        ("31.1.2026 13:05:30,5", SECONDS + 0.5),
        ("31/01/2026, 13:05:30", SECONDS),
        ("01/31/2026 1:05:30 PM", SECONDS),
        ("1/31/2026 1:05pm", SECONDS - 30),
        ("31-01-2026", DAY),
        (" 2026-01-31 ", DAY),
    ],
)
def test_dates_as_text_become_seconds(text, expected):
    times, note = times_of([text, text])
    assert times.tolist() == [expected, expected] and note is None
    assert times.dtype == (np.float64 if expected % 1 else np.int64)


FORMS = ["%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d.%m.%Y", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)), min_size=1),
    st.sampled_from(FORMS),
)
def test_every_form_is_what_python_reads(moments, form):
    moments = [*moments, datetime(2026, 1, 31, 12, 5)]  # a day above 12
    texts = [moment.strftime(form) for moment in moments]
    expected = [datetime.strptime(t, form).replace(tzinfo=UTC).timestamp() for t in texts]
    assert times_of(texts)[0].tolist() == expected


def test_the_whole_column_tells_day_from_month():
    texts = ["02/01/2026", "31/01/2026"]
    days = [datetime(2026, 1, day, tzinfo=UTC).timestamp() for day in (2, 31)]
    assert times_of(texts)[0].tolist() == days
    assert times_of(texts[:1], texts[1:])[0].tolist() == days  # in another file
    [second, _] = times_of(["02/01/2026", "01/31/2026"])[0].tolist()
    assert second == datetime(2026, 2, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["02/01/2026"], "day and month can be told apart.*'02/01/2026' in row 1 of a.csv"),
        (["31/01/2026", "01/31/2026"], "one order.*'31/01/2026' in row 1.*'01/31/2026' in row 2"),
        (["2026-01-31", "noon"], "dates such as 2026-01-31.*'noon' in row 2"),
        (["2026-01-31", ""], "'' in row 2"),
        (["2026-02-30"], "dates of a calendar.*'2026-02-30' in row 1"),
        (["31.01.2026 25:00"], "dates of a calendar"),
        (["31.01.26"], "in row 1"),
        (["1", "2026-01-31"], "numbers, as in row 1, in every row of a.csv.*'2026-01-31' in row 2"),
        (["2026-01-31", None], "Received: none in row 2"),
    ],
)
def test_what_is_no_date_is_named(texts, message):
    with pytest.raises(InputError, match=message) as caught:
        times_of(texts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_of_a_library_become_seconds(unit, zone):
    column = pa.array([MOMENT]).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, "UTC"))
    column = column.cast(pa.timestamp(unit, zone)) if zone else column.cast(pa.timestamp(unit))
    assert times_of(column)[0].tolist() == [SECONDS]
    assert times_of(pa.array([MOMENT.date()]))[0].tolist() == [DAY]


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.binary()])
def test_text_may_be_of_any_kind(kind):
    for text, expected in (("31.01.2026", DAY), ("2026-01-31", DAY), ("17", 17)):
        assert times_of(pa.array([text]).cast(kind))[0].tolist() == [expected]
    assert times_of(pa.array(["2026-01-31"] * 2).dictionary_encode())[0].tolist() == [DAY, DAY]


def test_numbers_stay_as_they_are():
    for numbers in ([3, 1], [0.5, 2.0], [SECONDS * 1000, SECONDS * 1000 + 1], ["3", "1"]):
        times, note = times_of(numbers)
        assert times.tolist() == [float(n) for n in numbers] and note is None


def test_files_of_different_clocks_come_on_one():
    for other in ([SECONDS * 1000], [str(SECONDS * 10**9)], ["2026-01-31T13:05:30Z"]):
        times, note = times_of([SECONDS], other)
        assert times.tolist() == [SECONDS, SECONDS]
        assert (note is None) == (other == ["2026-01-31T13:05:30Z"])
    times, note = times_of([SECONDS], [SECONDS * 1000 + 250])
    assert times.tolist() == [SECONDS, SECONDS + 0.25]
    assert note == "seconds and milliseconds are all read as seconds"


def test_files_whose_clocks_cannot_be_told_are_refused():
    with pytest.raises(InputError, match="one clock.*seconds in a.csv, and 1 to 40 in b.csv"):
        times_of([SECONDS], [1, 40])


def test_units_are_told_by_their_size():
    found = [unit_of(np.array([SECONDS * n])) for n in (1, 10**3, 10**6, 10**9)]
    assert found == ["seconds", "milliseconds", "microseconds", "nanoseconds"]
    for numbers in ([0], [2026], [20_260_131], [SECONDS, 5], []):
        assert unit_of(np.array(numbers)) is None
    assert time_text(np.int64(SECONDS * 1000), "milliseconds") == "2026-01-31"
    assert time_text(np.int64(17), None) == "17"
