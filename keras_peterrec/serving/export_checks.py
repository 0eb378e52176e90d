"""Checks before an export writes anything."""

import os
import re
from pathlib import Path

import numpy as np

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.serving.signature_names import ENDINGS, TAKEN
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.incremental_task import refuse_times_between
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import SHARED_HOST
from keras_peterrec.transfer.task import Task

# The names of operations in the graph begin with the name of their signature.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"[0-9]{1,18}")


def check_export(
    host: Host,
    tasks: dict[str, Task],
    out: Path,
    k: int,
    incremental: bool = False,
    mixed: MixedTasks | None = None,
) -> None:
    """Raises an InputError if the arguments of `export` cannot be used."""
    check_count("k", k)
    if not _VERSION.fullmatch(out.name):
        raise InputError(
            "`out` should end in a version number, such as export/peterrec/1. "
            f"Received: {str(out)!r}."
        )
    if os.path.lexists(out):
        raise InputError(
            f"`out` should be a new version directory. Received: {str(out)!r}, which exists."
        )
    if len(host.vocabulary) != host.backbone.vocabulary_size:
        raise InputError(
            f"`host` should have a vocabulary of {host.backbone.vocabulary_size} ids. "
            f"Received: one of {len(host.vocabulary)}."
        )
    _check_names(list(tasks))
    for name, task in tasks.items():
        _check_fits(host, name, task)
    if incremental and not host.backbone.causal:
        raise InputError(
            "`incremental` should be used with a causal host. Received: a masked host, "
            "whose states change with every later event."
        )
    if incremental and host.backbone.state_rows is None:
        raise InputError(
            "`incremental` should be used with a network that takes single events. "
            f"Received: a {type(host.backbone).__name__}, which does not."
        )
    for task in tasks.values() if incremental else ():
        refuse_times_between(task.model.own_fields, "tasks")
    if mixed is not None:
        _check_mixed(host, tasks, mixed)


def _check_names(names):
    for name in names:
        if (
            not isinstance(name, str)
            or not _NAME.fullmatch(name)
            or name.lower() in TAKEN
            or name.lower().endswith(ENDINGS)
        ):
            raise InputError(
                "`tasks` should have names of letters, digits, `_`, `-` and `.` that begin with "
                f"a letter or digit, do not end in {_listed(ENDINGS, 'or')}, and are none of "
                f"{_listed(TAKEN, 'and')}. Received: {name!r}."
            )
    _check_cases("tasks", names)


def _listed(names, word):
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def _check_cases(argument, names):
    # Names become file names, and some file systems cannot tell a from A.
    if len({name.lower() for name in names}) < len(names):
        raise InputError(
            f"`{argument}` should have names that differ by more than upper and lower case. "
            f"Received: {', '.join(names)}."
        )


def _check_fits(host, name, task):
    model = task.model
    if task.method in SHARED_HOST and model.host is not host.backbone:
        raise InputError(
            "`tasks` should be built on `host` itself, so that it is stored once. "
            f"Received: {name!r}, built on another."
        )
    if model.host.vocabulary_size != host.backbone.vocabulary_size:
        raise InputError(
            f"`tasks` should read the {host.backbone.vocabulary_size} ids of `host`. "
            f"Received: {name!r}, which reads {model.host.vocabulary_size}."
        )
    task.check_head()


def _check_mixed(host, tasks, mixed):
    if mixed.host is not host.backbone:
        raise InputError(
            "`mixed` should be built on `host` itself, so that it is stored once. "
            "Received: tasks built on another."
        )
    _check_cases("mixed", list(mixed.places_of))
    for name, kind in zip(mixed.places_of, mixed.kinds):
        if name in tasks:
            raise InputError(
                "`mixed` should have other tasks than `tasks`, so that each is stored once. "
                f"Received: {name!r} in both."
            )
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise InputError(
                f"`mixed` should have names that a folder can have. Received: {name!r}."
            )
        # Both are written to text files, a line each.
        if any(set(text) & {"\n", "\r"} for text in (name, *kind.labels)):
            raise InputError(
                "`mixed` should have names and labels without line breaks. "
                f"Received: {name!r}, with one."
            )
    # The warm-up requests ask at most 32 tasks, so the others are checked here.
    if not all(np.isfinite(weight.numpy()).all() for weight in mixed.task_variables()):
        raise InputError("`mixed` should have finite weights. Received: some that are not.")
