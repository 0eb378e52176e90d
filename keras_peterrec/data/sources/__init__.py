"""Logs, labels and titles, by the name of a source or the path of a file.

Names of logs are `movielens-100k/DOMAIN`, `movielens-1m/DOMAIN` and `simulated/DOMAIN`;
names of labels end in `/users`. A file in the paper's own format has a prefix:
`paper:FILE` for a pretraining log, `paper-source:FILE` and `paper-target:FILE` for the
two logs of a fine-tuning file, `paper-labels:FILE` for its labels. Anything else is the
path of a file. If `KERAS_PETERREC_MOVIELENS` names a folder, MovieLens is read from
the user's own download there.
"""

import functools
import os
from pathlib import Path
from typing import Any

from keras_peterrec.data.labels import Labels, read_labels
from keras_peterrec.data.log import LOG_COLUMNS, Log, read_log
from keras_peterrec.data.paper_format import (
    read_paper_finetune,
    read_paper_labels,
    read_paper_pretrain,
)
from keras_peterrec.data.prepared.format import is_prepared, read_manifest
from keras_peterrec.data.prepared.reading import PreparedLog
from keras_peterrec.data.sources import movielens, simulated
from keras_peterrec.data.table_columns import check_columns
from keras_peterrec.errors import InputError

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


def is_named(log: Any) -> bool:
    """Whether a log is named as that of a source or of the paper's format, not as a file."""
    return str(log) in _LOG_NAMES or str(log).partition(":")[0] in _PAPER_LOGS


def load_log(name_or_path: str | Path) -> Log:
    """Loads the `Log` of a source's domain, of a file or of a prepared folder.

    Args:
        name_or_path: str or path. Such as `"movielens-100k/source"`,
            `"simulated/target"`, `"clicks.csv"`, `"paper:pretrain.csv"`, or a folder that
            `prepare` has written.

    Raises:
        InputError: if there is no such name or file, or the file cannot be used.

    Example:

    >>> log = load_log("simulated/source")
    """
    if str(name_or_path) in _LOG_NAMES:
        source, domain = str(name_or_path).split("/")
        return _open_source(source).domain(domain)
    prefix, _, path = str(name_or_path).partition(":")
    if prefix in _PAPER_LOGS:
        return _PAPER_LOGS[prefix](path)
    _check_name(name_or_path, _LOG_NAMES)
    if is_prepared(name_or_path):
        return PreparedLog(name_or_path).log()
    return read_log(name_or_path)


def load_labels(name_or_path: str | Path, column: str) -> Labels:
    """Loads the `Labels` in one column of a source's users, or of a file.

    Args:
        name_or_path: str or path. Such as `"movielens-100k/users"` or
            `"users.csv"`.
        column: str. Such as `"gender"`.

    Raises:
        InputError: if there is no such name, file or column, or it cannot be used.

    Example:

    >>> labels = load_labels("simulated/users", "gender")
    """
    if str(name_or_path) in _LABEL_NAMES:
        return _open_source(str(name_or_path).split("/")[0]).labels(column)
    if str(name_or_path).startswith("paper-labels:"):
        return read_paper_labels(str(name_or_path).partition(":")[2])[1]
    _check_name(name_or_path, _LABEL_NAMES)
    return read_labels(name_or_path, column)


def check_log(name_or_path: str | Path) -> None:
    """Raises the InputError of `load_log` for a wrong name, path or column, without reading."""
    prefix, _, path = str(name_or_path).partition(":")
    if str(name_or_path) in _LOG_NAMES:
        return
    if prefix in _PAPER_LOGS:
        _check_paper_file(path)
        return
    _check_name(name_or_path, _LOG_NAMES)
    if is_prepared(name_or_path):
        read_manifest(name_or_path)
        return
    check_columns(name_or_path, LOG_COLUMNS)


def check_labels(name_or_path: str | Path, column: str) -> None:
    """Raises the InputError of `load_labels` for a wrong name, path or column."""
    if str(name_or_path) in _LABEL_NAMES:
        return
    if str(name_or_path).startswith("paper-labels:"):
        _check_paper_file(str(name_or_path).partition(":")[2])
        return
    _check_name(name_or_path, _LABEL_NAMES)
    check_columns(name_or_path, ["user_id", column])


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
    own = os.environ.get("KERAS_PETERREC_MOVIELENS")
    return movielens.MovieLens(source.removeprefix("movielens-"), own)


def _check_name(name_or_path, names):
    """Raises if something looks like the name of a source, but is neither that nor a file."""
    looks_like_a_name = str(name_or_path).split("/")[0].startswith(("movielens", "simulated"))
    is_file = Path(name_or_path).exists() or Path(name_or_path).suffix
    if looks_like_a_name and not is_file:
        raise InputError(
            f"`name_or_path` should be a file or one of {', '.join(names)}. "
            f"Received: {str(name_or_path)!r}."
        )
