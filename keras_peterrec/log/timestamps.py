"""Times of events: numbers, dates as text, or a library's own type; made into numbers that sort.

Numbers stay as they are. Dates become seconds since 1970-01-01 in UTC, with a fraction where they
have one; a date without a zone is taken as UTC. These are read:

    2026-01-31   2026/01/31   31.01.2026   31/01/2026   01/31/2026

each alone or with a time: `12:05`, `12:05:30`, `12:05:30.250`, `1:05 PM`, and with a zone: `Z`,
`+01:00`. Whether the day or the month comes first is told by the whole column.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError
from keras_peterrec.log.clocks import check_one_clock, in_seconds, unit_of
from keras_peterrec.log.table_columns import arrow_column, encode, is_text, numbers

_DAY = 86_400
_FORMS = "2026-01-31, 2026-01-31T12:05:30Z, 2026/01/31, 31.01.2026, 31/01/2026 or 01/31/2026"

_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d+))?)?"
    r" ?(?P<half>[AaPp][Mm])?)?"
    r" ?(?P<zone>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?\s*$"
)
_NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_YEAR_FIRST = r"^\s*(?P<year>\d{4})(?P<sign>[-/.])(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + _TIME
_YEAR_LAST = r"^\s*(?P<first>\d{1,2})(?P<sign>[-/.])(?P<other>\d{1,2})[-/.](?P<year>\d{4})" + _TIME


def read_times(columns: Sequence[Any], names: Sequence[str], argument: str) -> tuple:
    """The times in one column of several tables, on one clock.

    Columns hold numbers, text, dates or times. `names` are what messages call the tables,
    `argument` what they call the column.

    Returns:
        int64 or float64 array of all rows, and a note for people, or `None`.

    Raises:
        InputError: a row has no number and no date, the order of day and month cannot be told, or
            the tables have different clocks that cannot be told apart.
    """
    columns = [_plain(arrow_column(column, argument)) for column in columns]
    parts = [_as_numbers(column, argument, name) for column, name in zip(columns, names)]
    dated = [n for n, part in enumerate(parts) if part is None]
    texts = [columns[n] for n in dated]
    for n, times in zip(dated, _dates(texts, [names[n] for n in dated], argument)):
        parts[n] = times
    units = ["seconds" if n in dated else unit_of(part) for n, part in enumerate(parts)]
    filled = [n for n, part in enumerate(parts) if len(part)]
    if len({units[n] for n in filled}) <= 1:
        return _joined(parts), None
    ranges = [(units[n], parts[n].min(), parts[n].max(), names[n]) for n in filled]
    check_one_clock(ranges, argument)
    different = list(dict.fromkeys(units[n] for n in filled))
    parts = [in_seconds(part, unit) if unit else part for part, unit in zip(parts, units)]
    return _joined(parts), f"{' and '.join(different)} are all read as seconds"


def looks_like_times(column: Any) -> np.ndarray:
    """Which rows of a column have a number or a date, bool `[N]`; of text what most of them are."""
    column = _plain(arrow_column(column, "timestamp"))
    usable = pc.is_valid(column)
    if pa.types.is_floating(column.type):
        usable = pc.fill_null(pc.is_finite(column), False)
    if is_text(column.type):
        matches = lambda form: pc.fill_null(pc.match_substring_regex(column, form), False)
        numbers, dates = matches(_NUMBER), pc.or_(matches(_YEAR_FIRST), matches(_YEAR_LAST))
        count = lambda rows: pc.sum(rows).as_py() or 0
        usable = numbers if count(numbers) >= count(dates) else dates
    return np.array(usable, bool)


def _plain(column):
    """Text in the one of Arrow's forms that all of its functions read."""
    return pc.cast(column, pa.string()) if is_text(column.type) else column


def _joined(parts):
    return numbers(np.concatenate(parts), "timestamps")


def _as_numbers(column, argument, name):
    """A column's numbers; `None` where it is text that holds dates."""
    kind = column.type
    try:
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            zone = getattr(kind, "tz", None)
            return _seconds(pc.cast(column, pa.timestamp("us", zone), safe=False), argument)
        if not is_text(kind):
            return numbers(column, argument)
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py() + 1
            raise InputError(f"`{argument}` should be in every row. Received: none in row {row}.")
        for number in (pa.int64(), pa.float64()):
            if _casts(column, number):
                return numbers(pc.cast(column, number), argument)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if not _casts(column[:1], pa.float64()):
        return None
    bad = _first_bad(column, pa.float64())
    raise _not_a_time(column, bad, argument, name, "numbers, as in row 1,")


def _not_a_time(column, row, argument, name, allowed):
    return InputError(
        f"`{argument}` should be {allowed} in every row of {name}. "
        f"Received: {column[row].as_py()!r} in row {row + 1}."
    )


def _seconds(column, argument):
    """Seconds of a column of microseconds since 1970."""
    micros = numbers(pc.cast(column, pa.int64()), argument)
    return in_seconds(micros, "microseconds")


# Dates as text.


def _dates(columns, names, argument):
    """Seconds of each column of texts; all of them together tell the order of day and month."""
    found = [_iso(column, argument) for column in columns]
    open_ = [n for n, times in enumerate(found) if times is None]
    parsed = [_fields(columns[n], argument, names[n]) for n in open_]
    _check_order(parsed, [columns[n] for n in open_], [names[n] for n in open_], argument)
    for n, fields in zip(open_, parsed):
        found[n] = _assembled(fields, columns[n], argument, names[n])
    return found


def _iso(column, argument):
    """The usual form, by Arrow's own parser; `None` for others."""
    # It takes no more digits than it keeps.
    column = pc.replace_substring_regex(column, r"(\.\d{6})\d+", r"\1")
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        if _casts(column, kind):
            return _seconds(pc.cast(column, kind), argument)
    return None


def _fields(column, argument, name):
    """The parts of every date as integers, `{"year": [N], ...}`; -1 where a text has none."""
    early, late = (pc.extract_regex(column, form) for form in (_YEAR_FIRST, _YEAR_LAST))
    is_late = pc.is_valid(late).to_numpy(zero_copy_only=False)
    known = is_late | pc.is_valid(early).to_numpy(zero_copy_only=False)
    if not known.all():
        raise _not_a_time(
            column, int(np.argmin(known)), argument, name, f"numbers, or dates such as {_FORMS},"
        )

    def text(field):
        of_both = [
            pc.fill_null(pc.struct_field(form_rows, field), "")
            for form_rows, form in ((early, _YEAR_FIRST), (late, _YEAR_LAST))
            if f"<{field}>" in form
        ]
        return of_both[0] if len(of_both) == 1 else pc.binary_join_element_wise(*of_both, "")

    def number(field):
        texts = text(field)
        return pc.cast(pc.if_else(pc.equal(texts, ""), "-1", texts), pa.int64()).to_numpy()

    dates, times = ("year", "month", "day", "first", "other"), ("hour", "minute", "second")
    fields = {name: number(name) for name in (*dates, *times)}
    part = pc.binary_join_element_wise("0.", text("part"), "")
    fields["part"] = pc.cast(part, pa.float64()).to_numpy()
    fields["half"], fields["zone"] = pc.utf8_lower(text("half")), text("zone")
    fields["is_late"] = is_late
    fields["has_dots"] = pc.equal(text("sign"), ".").to_numpy(zero_copy_only=False)
    return fields


def _check_order(parsed, columns, names, argument):
    """Says in each column whether the day comes first; `31.01.2026` always begins with it."""
    # The first row whose first number, or whose other, is no month; and the first that is in doubt.
    day = month = unsure = None
    for n, fields in enumerate(parsed):
        open_ = fields["is_late"] & ~fields["has_dots"]
        first = lambda rows: (n, int(np.argmax(rows))) if rows.any() else None
        day = day or first(open_ & (fields["first"] > 12))
        month = month or first(open_ & (fields["other"] > 12))
        unsure = unsure or first(open_)
    shown = lambda at: f"{columns[at[0]][at[1]].as_py()!r} in row {at[1] + 1} of {names[at[0]]}"
    if day and month:
        raise InputError(
            f"`{argument}` should have day and month in one order. "
            f"Received: {shown(day)} and {shown(month)}."
        )
    if unsure and not day and not month:
        raise InputError(
            f"`{argument}` should be dates whose day and month can be told apart, such as "
            f"2026-01-31. Received: {shown(unsure)}, and no day above 12 in any row."
        )
    for fields in parsed:
        first_is_day = fields["has_dots"] | (day is not None)
        for name, is_first in (("day", first_is_day), ("month", ~first_is_day)):
            told = np.where(is_first, fields["first"], fields["other"])
            fields[name] = np.where(fields["is_late"], told, fields[name])


def _assembled(fields, column, argument, name):
    year, month, day = (fields[n] for n in ("year", "month", "day"))
    hour, minute, second = (np.maximum(fields[n], 0) for n in ("hour", "minute", "second"))
    is_half, is_pm = (
        flags.to_numpy(zero_copy_only=False)
        for flags in (pc.not_equal(fields["half"], ""), pc.equal(fields["half"], "pm"))
    )
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("M8[M]").astype("M8[D]")
    length = ((months + 1).astype("M8[M]").astype("M8[D]") - first).astype("int64")
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    good &= (hour < 24) & (minute < 60) & (second <= 60)
    good &= ~is_half | ((hour >= 1) & (hour <= 12))
    if not good.all():
        raise _not_a_time(column, int(np.argmin(good)), argument, name, "dates of a calendar")
    hour = np.where(is_half, hour % 12 + 12 * is_pm, hour)
    days = first.astype("int64") + day - 1
    times = days * _DAY + hour * 3600 + minute * 60 + second - _offsets(fields["zone"])
    return times + fields["part"] if fields["part"].any() else times


def _offsets(zones):
    """Seconds that each zone, such as `"+01:00"`, is before UTC."""
    different, codes = encode(zones)
    seconds = []
    for zone in different.to_pylist():
        digits = zone[1:].replace(":", "") if zone[:1] in ("+", "-") else ""
        value = int(digits[:2] or 0) * 3600 + int(digits[2:] or 0) * 60
        seconds.append(-value if zone.startswith("-") else value)
    return np.array(seconds, "int64")[codes.to_numpy(zero_copy_only=False)]


def _casts(column, kind):
    try:
        pc.cast(column, kind)
    except pa.ArrowException:
        return False
    return True


def _first_bad(column, kind):
    """The first row that cannot be cast."""
    # Bisect: the longest part from the start that can be cast ends before the bad row.
    good, bad = 0, len(column)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _casts(column.slice(good, middle - good), kind):
            good = middle
        else:
            bad = middle
    return good
