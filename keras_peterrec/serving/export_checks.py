"""What is refused before an export writes anything."""

import os
import re

from keras_peterrec.errors import InputError
from keras_peterrec.serving.signature_names import CLASSIFY, EMBED, NEXT_ITEM
from keras_peterrec.transfer.strategies import SHARED_HOST

# A signature's name begins the names of its operations in the graph.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"[0-9]{1,18}")


def check_export(host, tasks, out, k):
    """Refuses arguments of `export` that cannot be used.

    Raises:
        InputError: see `export`.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InputError(f"`k` should be a positive integer. Received: `k` = {k!r}.")
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


def _check_names(names):
    for name in names:
        if (
            not isinstance(name, str)
            or not _NAME.fullmatch(name)
            or name in (NEXT_ITEM, EMBED)
            or name.lower().endswith(CLASSIFY)
        ):
            raise InputError(
                "`tasks` should have names of letters, digits, `_`, `-` and `.` that begin with "
                f"a letter or digit, do not end in {CLASSIFY}, and are neither {NEXT_ITEM} nor "
                f"{EMBED}. Received: {name!r}."
            )
    # Names become file names, and some file systems do not tell a from A.
    if len({name.lower() for name in names}) < len(names):
        raise InputError(
            "`tasks` should have names that differ by more than upper and lower case. "
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
    answers = len(task.targets if task.kind == "recommend" else task.classes)
    if model.output_shape[-1] != answers:
        raise InputError(
            "`tasks` should have as many scores as target items or classes. "
            f"Received: {name!r}, {model.output_shape[-1]} scores for {answers}."
        )
