"""The files of the official PeterRec code, with one user a line.

Pretraining: `i1,i2,...,iL`. Fine-tuning: `i1,...,iL,,t1,t2,...`: the source items,
an empty field, and the targets. Items are numbers; lines are padded with 0 on the left.
"""

import itertools
import re
from pathlib import Path

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels

# At most 18 digits, so that an item fits in int64.
_ITEMS = r"([0-9]{1,18}(?:,[0-9]{1,18})*)"
_PRETRAIN = re.compile(_ITEMS)
_FINETUNE = re.compile(f"{_ITEMS},,{_ITEMS}")


def read_paper_pretrain(path: str | Path) -> Events:
    """Reads the log in a pretraining file of the official code.

    Users are numbered by line, from "0"; a timestamp is the position in the line.

    Raises:
        InputError: the file is missing, or a line is malformed; the message names the line.
    """
    lines = [
        _source_items(path, number, match[1])
        for number, match in _matches(path, _PRETRAIN, "i1,i2,...")
    ]
    return _log(path, lines)


def read_paper_finetune(path: str | Path) -> tuple[Events, Events]:
    """Reads the source log and the target log in a fine-tuning file.

    Both share user ids. The timestamp of a target is its position in the line
    without padding, so every target comes after the user's source events.

    Raises:
        InputError: the file is missing, or a line is malformed; the message names the line.
    """
    sources, targets = _finetune_lines(path, "targets other than 0", np.all)
    return _log(path, sources), _log(path, targets, starts=[len(items) for items in sources])


def read_paper_labels(path: str | Path) -> tuple[Events, Labels]:
    """Reads the source log, and the Labels in a fine-tuning file: the only target of each line.

    Raises:
        InputError: the file is missing, or a line is malformed or has more than one label; the
            message names the line.
    """
    is_one = lambda items: len(items) == 1
    sources, labels = _finetune_lines(path, "one label after ',,'", is_one)
    source = _log(path, sources)
    return source, Labels.from_columns(np.arange(len(labels)), np.concatenate(labels), "label")


def _finetune_lines(path, allowed, is_allowed):
    """The source items and the targets of all lines, whose targets should be allowed."""
    sources, targets = [], []
    for number, match in _matches(path, _FINETUNE, "i1,i2,...,,t1,t2,..."):
        sources.append(_source_items(path, number, match[1]))
        targets.append(np.fromstring(match[2], np.int64, sep=","))
        if not is_allowed(targets[-1]):
            raise _bad_line(path, number, allowed, match[2])
    return sources, targets


def _matches(path, pattern, form):
    """Yields `(line number, match)` of every line."""
    if not Path(path).is_file():
        raise InputError(f"`path` should be a file that exists. Received: {path}.")
    blank = None
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            line = line.rstrip()
            if not line:
                # Blank lines may stand at the end; anywhere else they would shift users.
                blank = blank or number
                continue
            match = pattern.fullmatch(line)
            if blank or not match:
                raise _bad_line(path, blank or number, form, "" if blank else line)
            yield number, match


def _source_items(path, number, text):
    items = np.fromstring(text, np.int64, sep=",")
    kept = items[items != 0]
    if items[len(items) - len(kept) :].tolist() != kept.tolist():
        raise _bad_line(path, number, "items padded with 0 on the left only", text)
    return kept


def _log(path, lines, starts=itertools.repeat(0)):
    """The Events of lines of items; `starts` are the times of their first ones."""
    if not any(map(len, lines)):
        raise InputError(f"`path` should hold items. Received: {path} with none.")
    lengths = [len(line) for line in lines]
    users = np.repeat(np.arange(len(lines)), lengths)
    times = np.concatenate([np.arange(start, start + n) for start, n in zip(starts, lengths)])
    try:
        return Events.from_columns(users, np.concatenate(lines), times, name=Path(path).name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _bad_line(path, number, allowed, received):
    shown = received if len(received) <= 80 else received[:77] + "..."
    return InputError(
        f"`path` should have lines of {allowed}. Received: {shown!r} in line {number} of {path}."
    )
