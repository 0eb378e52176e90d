"""Logs, labels, items and titles, by the name of a source, the path of files, or a table.

Names of logs are `SOURCE/DOMAIN`, such as `movielens-100k/action`, names of labels `SOURCE/users`
and of tables of items `SOURCE/items`; the table below has the sources. A file in the paper's own
format has a prefix: `paper:FILE` for a pretraining log, `paper-source:FILE` and
`paper-target:FILE` for the two logs of a fine-tuning file, `paper-labels:FILE` for its labels.
Anything else is a file, several files or a table in memory; see `read_log`.
"""

import difflib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_peterrec import progress
from keras_peterrec.errors import InputError, refuse
from keras_peterrec.log.column_names import as_fields, refuse_reading
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels, read_label_columns
from keras_peterrec.log.paper_format import (
    read_paper_finetune,
    read_paper_labels,
    read_paper_pretrain,
)
from keras_peterrec.log.prepared.format import is_prepared, read_manifest
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.read_log import Reading, read_log
from keras_peterrec.log.sources import complete_journey, movielens, simulated, ta_feng
from keras_peterrec.log.table_files import check_tables
from keras_peterrec.types import ColumnNames, EventNames, Source


class NamedSource(NamedTuple):
    """A data set that is known by a name.

    `open` returns it. It has `domain(name)`, or `domain(name, fields)` if it has fields, which its
    events may carry; `labels(column)`, and `titles` of its items. `items` is a table of them.
    """

    open: Callable[[], Any]
    domains: tuple[str, ...]
    fields: tuple[str, ...] = ()
    has_items: bool = True


_SOURCES = {
    "movielens-100k": NamedSource(lambda: movielens.named("100k"), movielens.DOMAINS),
    "movielens-1m": NamedSource(lambda: movielens.named("1m"), movielens.DOMAINS),
    "ta-feng": NamedSource(ta_feng.TaFeng, ta_feng.DOMAINS, ta_feng.FIELDS),
    "complete-journey": NamedSource(
        complete_journey.CompleteJourney, complete_journey.DOMAINS, complete_journey.FIELDS
    ),
    "simulated": NamedSource(simulated.Simulated, simulated.DOMAINS, has_items=False),
}
_PAPER_LOGS = {
    "paper": read_paper_pretrain,
    "paper-source": lambda path: read_paper_finetune(path)[0],
    "paper-target": lambda path: read_paper_finetune(path)[1],
}
_LOG_NAMES = [f"{name}/{domain}" for name, source in _SOURCES.items() for domain in source.domains]
_LABEL_NAMES = [f"{name}/users" for name in _SOURCES]
_ITEM_NAMES = [f"{name}/items" for name, source in _SOURCES.items() if source.has_items]


def log_names() -> list[str]:
    """The names of all logs of sources, those first that need no download."""
    return sorted(_LOG_NAMES, key=lambda name: not name.startswith("simulated"))


def is_named(source: Any) -> bool:
    """Whether a log is named as that of a source or of the paper's format, not as a file.

    Raises:
        InputError: it looks like such a name, but there is none like it.
    """
    if _named_log(source) is None:
        _check_name(source, _LOG_NAMES)
        return False
    return not is_prepared(source)


def load_log(
    source: Source,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    weight_column: str | None = None,
    drop_bad_rows: bool = False,
    fields: EventNames | None = None,
) -> Events:
    """Loads the `Events` of a source's domain, of files, of a prepared folder, or of a table.

    A line on stderr says what was read.

    Args:
        source: Such as `"movielens-100k/source"`, `"simulated/target"`, `"paper:pretrain.csv"`,
            `"clicks.csv"`, `"clicks/*.parquet"`, a list of files, a folder that `prepare` has
            written, or a DataFrame; see `read_log`. Events are returned as they are.
        columns, events, weight_column, drop_bad_rows: of files and tables; see `read_log`.
        fields: list of str, or text such as `"price,channel"`. More columns that the events carry,
            of files, tables, and sources that have some: `"ta-feng/food"` has amount, price and
            subclass. Defaults to `None`, none.

    Raises:
        InputError: if there is no such name or file, or it cannot be used.

    Example:

    >>> log = load_log("simulated/source")
    """
    if isinstance(source, Events):
        what = "Events, which are read already"
        refuse_reading(what, events=events, weight_column=weight_column)
        return source
    named = _named_log(source)
    if named is None:
        _check_name(source, _LOG_NAMES)
        return read_log(source, columns, events, weight_column, drop_bad_rows, fields)
    _check_reading(source, events, weight_column, fields)
    with progress.stage(f"reading {source}") as found:
        log = named(as_fields(fields))
        found(log.summary())
    return log


def load_labels(
    source: Source,
    column: str,
    columns: ColumnNames | None = None,
    drop_bad_rows: bool = False,
    keep_missing_words: bool = False,
) -> Labels:
    """Loads the `Labels` in one column of a source's users, of files, or of a table in memory.

    A line on stderr says what was read.

    Args:
        source: Such as `"movielens-100k/users"`, `"users.csv"` or a DataFrame; see `read_log`.
        column: str. Such as `"gender"`.
        columns, drop_bad_rows, keep_missing_words: of files and tables; see `read_labels`.

    Raises:
        InputError: if there is no such name, file or column, or it cannot be used.

    Example:

    >>> labels = load_labels("simulated/users", "gender")
    """
    [labels] = load_label_columns(source, [column], columns, drop_bad_rows, keep_missing_words)
    return labels


def load_label_columns(
    source: Source,
    names: Sequence[str],
    columns: ColumnNames | None = None,
    drop_bad_rows: bool = False,
    keep_missing_words: bool = False,
) -> list[Labels]:
    """The `Labels` in each of some columns; files and tables are read once. See `load_labels`."""
    named = [_named_labels(source, name) for name in names]
    if None in named:
        _check_name(source, _LABEL_NAMES)
        return read_label_columns(source, names, columns, drop_bad_rows, keep_missing_words)
    with progress.stage(f"reading {source}") as found:
        labels = [load() for load in named]
        found("; ".join(of_column.summary() for of_column in labels))
    return labels


def check_log(
    source: Source,
    columns: ColumnNames | None = None,
    events: EventNames | None = None,
    weight_column: str | None = None,
    fields: EventNames | None = None,
) -> None:
    """Raises the InputError of `load_log` for a wrong name, path or column, without reading."""
    if _named_log(source) is None:
        _check_name(source, _LOG_NAMES)
        Reading(columns, events, weight_column, fields=fields).check(source)
        return
    _check_reading(source, events, weight_column, fields)
    if is_prepared(source):
        read_manifest(source)
        return
    prefix, _, path = str(source).partition(":")
    if prefix in _PAPER_LOGS:
        _check_paper_file(path)


def check_labels(source: str | Path | Any, column: str, columns: ColumnNames | None = None) -> None:
    """Raises the InputError of `load_labels` for a wrong name, path or column."""
    if _named_labels(source, column) is None:
        _check_name(source, _LABEL_NAMES)
        check_tables(source, ["user_id", column], columns)
    elif str(source).startswith("paper-labels:"):
        _check_paper_file(str(source).partition(":")[2])


def _named_log(source):
    """A function of fields that returns the log of a name or of a prepared folder; else `None`."""
    if is_prepared(source):
        return lambda _: PreparedLog(source).log()
    if not isinstance(source, str):
        return None
    if source in _LOG_NAMES:
        name, domain = source.split("/")
        return lambda fields: _open_source(name).domain(domain, *([fields] if fields else []))
    prefix, _, path = source.partition(":")
    return (lambda _: _PAPER_LOGS[prefix](path)) if prefix in _PAPER_LOGS else None


def _check_reading(source, events, weight_column, fields):
    """Raises InputError if a log that is named or prepared has not what is asked of its columns."""
    known = _SOURCES[source.split("/")[0]].fields if source in _LOG_NAMES else ()
    given = {"events": events, "weight_column": weight_column, "fields": fields}
    if known:
        del given["fields"]
    refuse_reading(f"{source}, which has no such column", **given)
    if set(as_fields(fields)) - set(known):
        refuse("fields", f"among {', '.join(known)} for {source}", fields)


def _named_labels(source, column):
    if not isinstance(source, str):
        return None
    if source in _LABEL_NAMES:
        return lambda: _open_source(source.split("/")[0]).labels(column)
    prefix, _, path = source.partition(":")
    return (lambda: read_paper_labels(path)[1]) if prefix == "paper-labels" else None


def _check_paper_file(path):
    if not Path(path).is_file():
        raise InputError(f"`path` should be a file that exists. Received: {path}.")


def item_table(source: Source) -> Source:
    """The table of a source's items, with the column `item_id`; files and tables as they are.

    Raises:
        InputError: there is no such name, or the source cannot be read.
    """
    if isinstance(source, str) and source in _ITEM_NAMES:
        return _open_source(source.split("/")[0]).items
    _check_name(source, _ITEM_NAMES)
    return source


def load_titles(name_or_path: str | Path) -> dict[str, str]:
    """Loads the titles of a source's items by their id; a file has none.

    Args:
        name_or_path: str or path, as for `load_log`.

    Example:

    >>> load_titles("clicks.csv")
    {}
    """
    if str(name_or_path) in _LOG_NAMES + _LABEL_NAMES:
        return dict(_open_source(str(name_or_path).split("/")[0]).titles)
    return {}


# A command reads a source's log, target and labels: one reading is enough for all.
@functools.cache
def _open_source(name):
    return _SOURCES[name].open()


def _check_name(source, names):
    """Raises if something looks like the name of a source, but is neither that nor a file."""
    if not isinstance(source, (str, os.PathLike)):
        return
    looks_like_a_name = difflib.get_close_matches(str(source).split("/")[0], _SOURCES)
    if looks_like_a_name and not (Path(source).exists() or Path(source).suffix):
        refuse("source", f"a file or one of {', '.join(names)}", str(source))
