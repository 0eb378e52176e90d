"""What is wrong with the rows of a table, and what looks wrong in a log.

Rows lack an id or a time, or their time is far from all others. Doubts about a log are a line
each, and stop no command.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.clocks import unit_of
from keras_peterrec.log.events import Events
from keras_peterrec.log.id_text import has_separator
from keras_peterrec.log.table_columns import arrow_column, check_id_type, is_text
from keras_peterrec.log.table_files import Tables
from keras_peterrec.log.timestamps import looks_like_times

_SHOWN = 3  # rows of a message
DROP = "--drop-bad-rows leaves"
# Of the events, at most so many are looked at.
_SAMPLE = 300_000
# Columns look swapped where items are less patient than users by this factor; see `_patience`.
_SWAPPED = 10.0
_MANY_TIES = 0.1
_LEAST_EVENTS = 1_000  # fewer may look like anything


def rows_with_ids(
    tables: Tables,
    columns: Sequence[str],
    asked: np.ndarray | None = None,
    drop: bool = False,
) -> np.ndarray | None:
    """Which rows have an id in each of some columns, and a time where there is a column of them.

    Args:
        asked: bool array `[N]` or `None`, all. Rows that are read at all.
        drop: whether others are left out, and a line says how many; also rows whose time cannot be
            read.

    Returns:
        bool array `[N]`, or `None` where all have.

    Raises:
        InputError: a row has no id and `drop` is false; or ids are no strings or integers.
    """
    bad = np.zeros(len(tables), bool)
    lacking = []
    for column in columns:
        are_wrong = _without_id(tables, column)
        are_wrong = are_wrong if asked is None else are_wrong & asked
        if are_wrong.any() and not drop:
            raise _refusal(tables, column, are_wrong)
        bad |= are_wrong
        lacking.append((column, are_wrong))
    if drop and "timestamp" in tables.called[0]:
        parts = [part.column("timestamp") for part in tables.parts]
        are_wrong = ~np.concatenate([looks_like_times(part) for part in parts])
        bad |= are_wrong
        lacking.append(("timestamp", are_wrong))
    if not bad.any():
        return None
    for column, are_wrong in lacking:
        if are_wrong.any():
            named = tables.called[0][column]
            progress.line(f"{tables.name}: left out {_rows(tables, are_wrong)} without {named}")
    return ~bad


def say_strays(tables: Tables, found: np.ndarray, times: np.ndarray, drop: bool) -> None:
    """Says which times are strays, bool `[N]`, and whether their rows are left out."""
    row = int(np.argmax(found))
    part, number = tables.place(row)
    value = tables.column("timestamp")[row].as_py()
    column = tables.called[part]["timestamp"]
    others = times[~found]
    more = f", the first of {int(found.sum()):,}," if found.sum() > 1 else ""
    cut = tables.cut[part] and number == len(tables.parts[part]) + tables.first_row
    progress.line(
        f"{tables.names[part]}: {column} {value} in row {number:,}{more} is far from those of the "
        f"other rows ({others.min()} to {others.max()})"
        + ("; the file ends within a line, so that row may be half-written" if cut else "")
        + ("; left out" if drop else f"; kept, and the clock told by the others ({DROP} it out)")
    )


def _without_id(tables, column):
    """Which rows have no id, bool `[N]`."""
    masks = []
    for part, called in zip(tables.parts, tables.called):
        values = arrow_column(part.column(column), column)
        check_id_type(values.type, called[column])
        bad = pc.is_null(values)
        if is_text(values.type):
            values = pc.cast(values, "large_string")
            blank = pc.or_(pc.equal(values, ""), pc.utf8_is_space(values))
            bad = pc.or_(bad, pc.fill_null(blank, False))
        masks.append(np.array(bad, bool))
    return np.concatenate(masks)


def _refusal(tables, column, found):
    part, _ = tables.place(int(np.argmax(found)))
    return InputError(
        f"`{tables.called[part][column]}` should have an id in every row of {tables.name}. "
        f"Received: none in {_rows(tables, found)} of {tables.first_row + len(tables):,} "
        f"({DROP} them out)."
    )


def _rows(tables, found):
    """How many rows, and the first of them: `3 rows (2, 17, 90)`."""
    count = int(found.sum())
    places = [tables.place(int(row)) for row in np.flatnonzero(found)[:_SHOWN]]
    several = len(tables.names) > 1
    names = [f"{Path(tables.names[part]).name}:" * several for part, _ in places]
    shown = ", ".join(f"{name}{number}" for name, (_, number) in zip(names, places))
    return f"{count:,} row{'s' * (count != 1)} ({shown}{', ...' * (count > _SHOWN)})"


def doubts_of(log: Events) -> list[str]:
    """Lines about what is probably a mistake in a log."""
    doubts = []
    ids = log.item_ids if has_separator(log.item_ids) else []
    spaced = [item for item in ids if item[0].isspace() or item[-1].isspace()]
    if spaced:
        doubts.append(
            f"{len(spaced):,} item ids begin or end with white space, such as {spaced[0]!r}; "
            "they are kept as they are"
        )
    if looks_swapped(log):
        doubts.append(
            f"{len(log.item_ids):,} items come and go as users do, and {len(log.user_ids):,} users "
            "as items do: are the columns user_id and item_id swapped?"
        )
    return doubts


def looks_swapped(log: Events) -> bool:
    """Whether the column of users seems to hold the items, and the other way round.

    A user's events come in sessions, close together; an item's come whenever somebody wants it.
    So where the clock is known, and there are more "items" than "users", the columns look swapped
    if it is the items whose events come close together. Where timestamps only number a user's
    events, no user has the same number twice.
    """
    if len(log.item_ids) <= len(log.user_ids) or len(log) < _LEAST_EVENTS:
        return False
    if unit_of(log.timestamps) is None:
        return _ties(log.items, log) == 0 and (_ties(log.users, log) or 0) > _MANY_TIES
    of_users, of_items = (_patience(codes, log) for codes in (log.users, log.items))
    if of_users is None or of_items is None:
        return False
    return of_items * _SWAPPED < of_users


def _sample(codes):
    """Rows of some users or items, all rows of each, in no order."""
    step = -(-len(codes) // _SAMPLE)
    return np.flatnonzero(codes % step == 0)


def _ordered(codes, log):
    rows = _sample(codes)
    codes, times = codes[rows], log.timestamps[rows]
    order = np.lexsort((times, codes))
    same = np.diff(codes[order]) == 0
    return codes[order][1:][same], np.diff(times[order])[same]


def _ties(codes, log):
    """The share of events at the time of the one before, of a user or an item.

    `None` where most have only one event.
    """
    _, gaps = _ordered(codes, log)
    return float(np.mean(gaps == 0)) if 2 * len(gaps) > len(_sample(codes)) else None


def _patience(codes, log):
    """The median time between two events of one user or item, as a share of what it would be if
    they came evenly over the log.
    """
    owners, gaps = _ordered(codes, log)
    span = float(log.timestamps.max() - log.timestamps.min())
    if not len(gaps) or span <= 0:
        return None
    counts = np.bincount(codes)[owners]
    return float(np.median((gaps + 1.0) * counts)) / span
