"""Logs, labels and titles, by the name of a source, the path of files, or a table.

Names of logs are `movielens-100k/DOMAIN`, `movielens-1m/DOMAIN` and `simulated/DOMAIN`;
names of labels end in `/users`. A file in the paper's own format has a prefix:
`paper:FILE` for a pretraining log, `paper-source:FILE` and `paper-target:FILE` for the
two logs of a fine-tuning file, `paper-labels:FILE` for its labels. Anything else is a file,
several files or a table in memory; see `read_log`. If `KERAS_PETERREC_MOVIELENS` names a
folder, MovieLens is read from the user's own download there.
"""

import functools
import os
from pathlib import Path
from typing import Any

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.column_names import refuse_reading
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels, read_labels
from keras_peterrec.log.paper_format import (
    read_paper_finetune,
    read_paper_labels,
    read_paper_pretrain,
)
from keras_peterrec.log.prepared.format import is_prepared, read_manifest
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.read_log import Reading, read_log
from keras_peterrec.log.sources import movielens, simulated
from keras_peterrec.log.table_files import check_tables
from keras_peterrec.types import ColumnNames, EventNames, Source

_DOMAINS = {
    "movielens-100k": movielens.DOMAINS,
    "movielens-1m": movielens.DOMAINS,
    "simulated": simulated.DOMAINS,
}
_PAPER_LOGS = {
    "paper": read_paper_pretrain,
    "paper-source": lambda path: read_paper_finetune(path)[0],
    "paper-target": lambda path: read_paper_finetune(path)[1],
}
_LOG_NAMES = [f"{source}/{name}" for source in _DOMAINS for name in _DOMAINS[source]]
_LABEL_NAMES = [f"{source}/users" for source in _DOMAINS]


def log_names() -> list[str]:
    """The names of all logs of sources, those first that need no download."""
    return sorted(_LOG_NAMES, key=lambda name: not name.startswith("simulated"))


def is_named(source: Any) -> bool:
    """Whether a log is named as that of a source or of the paper's format, not as a file."""
    return _named_log(source) is not None and not is_prepared(source)


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
            written, or a DataFrame; see `read_log`.
        columns, events, weight_column, drop_bad_rows, fields: of files and tables; see `read_log`.

    Raises:
        InputError: if there is no such name or file, or it cannot be used.

    Example:

    >>> log = load_log("simulated/source")
    """
    named = _named_log(source)
    if named is None:
        _check_name(source, _LOG_NAMES)
        return read_log(source, columns, events, weight_column, drop_bad_rows, fields)
    given = {"events": events, "weight_column": weight_column, "fields": fields}
    refuse_reading(f"{source}, which has no such column", **given)
    with progress.stage(f"reading {source}") as found:
        log = named()
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
    named = _named_labels(source, column)
    if named is None:
        _check_name(source, _LABEL_NAMES)
        return read_labels(source, column, columns, drop_bad_rows, keep_missing_words)
    with progress.stage(f"reading {source}") as found:
        labels = named()
        found(labels.summary())
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
    given = {"events": events, "weight_column": weight_column, "fields": fields}
    refuse_reading(f"{source}, which has no such column", **given)
    if is_prepared(source):
        read_manifest(source)
        return
    prefix, _, path = source.partition(":")
    if prefix in _PAPER_LOGS:
        _check_paper_file(path)


def check_labels(source: str | Path | Any, column: str, columns: Any = None) -> None:
    """Raises the InputError of `load_labels` for a wrong name, path or column."""
    if _named_labels(source, column) is None:
        _check_name(source, _LABEL_NAMES)
        check_tables(source, ["user_id", column], columns)
    elif source.startswith("paper-labels:"):
        _check_paper_file(source.partition(":")[2])


def _named_log(source):
    """A function that returns the log of a name or of a prepared folder; else `None`."""
    if is_prepared(source):
        return lambda: PreparedLog(source).log()
    if not isinstance(source, str):
        return None
    if source in _LOG_NAMES:
        origin, domain = source.split("/")
        return lambda: _open_source(origin).domain(domain)
    prefix, _, path = source.partition(":")
    return (lambda: _PAPER_LOGS[prefix](path)) if prefix in _PAPER_LOGS else None


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
def _open_source(source):
    if source == "simulated":
        return simulated.Simulated()
    own = os.environ.get("KERAS_PETERREC_MOVIELENS") or None  # empty is as if it were not set
    return movielens.MovieLens(source.removeprefix("movielens-"), own)


def _check_name(name_or_path, names):
    """Raises if something looks like the name of a source, but is neither that nor a file."""
    if not isinstance(name_or_path, (str, os.PathLike)):
        return
    looks_like_a_name = str(name_or_path).split("/")[0].startswith(("movielens", "simulated"))
    is_file = Path(name_or_path).exists() or Path(name_or_path).suffix
    if looks_like_a_name and not is_file:
        raise InputError(
            f"`name_or_path` should be a file or one of {', '.join(names)}. "
            f"Received: {str(name_or_path)!r}."
        )
