"""How ids stand in a text where white space separates them."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError

# What `str.split` separates by: more than a server's split does, which knows ASCII alone.
_SPACE = re.compile(r"\s")
# They separate the lines of a vocabulary's file.
_BREAK = re.compile("[\n\r]")


def written(id_: str) -> str:
    """An id as it stands in a history: percent-encoded where it has white space, else unchanged.

    A history is one string of ids with spaces between them, so no id may have one. Only white
    space is encoded: an id without any stays as it is, whatever else it holds.

    Args:
        id_: str.

    Example:

    >>> written("New York"), written("50%")
    ('New%20York', '50%')
    """
    return _SPACE.sub(lambda found: quote(found[0]), id_)


def has_space(ids: Iterable[str]) -> bool:
    """Whether any id has white space."""
    # Each different character is tested once: they are few, and the ids may be millions.
    return any(map(str.isspace, set("".join(ids))))


def check_ids(ids: Iterable[str], argument: str) -> None:
    """Raises InputError if an id is empty or has a line break, or two would be written alike.

    Args:
        ids: sequence of different str.
        argument: str. What messages call them.
    """
    spaced = has_space(ids)
    bad = "" if "" in ids else None
    if spaced:
        bad = next((id_ for id_ in ids if not id_.strip() or _BREAK.search(id_)), bad)
    if bad is not None:
        raise InputError(
            f"`{argument}` should be ids that are not empty and have no line break. "
            f"Received: {bad!r}."
        )
    if not spaced:
        return
    numbers = {}
    for id_ in ids:
        text = written(id_)
        if numbers.setdefault(text, id_) != id_:
            raise InputError(
                f"`{argument}` should differ also where white space is written as in {text!r}. "
                f"Received: {numbers[text]!r} and {id_!r}."
            )


def written_texts(item_ids: Any) -> pa.Array:
    """Items as they stand in a history: pyarrow array of strings."""
    texts = map(written, item_ids) if has_space(item_ids) else item_ids
    return pa.array(list(texts), pa.string())


def joined_texts(texts: pa.Array, codes: Any, offsets: Any) -> pa.Array:
    """Histories as texts, items separated by spaces: pyarrow array of strings, `[U]`.

    Args:
        texts: pyarrow array of strings, of `written_texts`.
        codes: int array `[N]`, rows of `texts`, user by user.
        offsets: int array `[U + 1]`. User u has `codes[offsets[u]:offsets[u + 1]]`.
    """
    offsets = pa.array(np.asarray(offsets, "int32"))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts.take(pa.array(codes))), " ")


def comma_hint(history: str) -> str | None:
    """What to tell someone whose history is one word with commas, or `None`.

    Such a history is answered: as of one item, which nobody knows.

    Args:
        history: str.

    Returns:
        str or `None`.

    Example:

    >>> comma_hint("i1,i2")
    "the history 'i1,i2' is one item with commas in it; between items stand spaces: 'i1 i2'"
    """
    words = history.split()
    if len(words) != 1 or "," not in words[0].strip(","):
        return None
    shown = words[0] if len(words[0]) <= 60 else words[0][:60] + "..."
    return (
        f"the history {shown!r} is one item with commas in it; between items stand spaces: "
        f"{' '.join(shown.split(','))!r}"
    )


def known_hint(history: str, known: int, events: int) -> str | None:
    """What to tell someone of whose history some events are of unknown items, else `None`.

    Args:
        history: str.
        known: int. How many of its events are known.
        events: int. How many it has.

    Returns:
        str or `None`.

    Example:

    >>> known_hint("i1 x y", 1, 3)
    "history 'i1 x y': 1 of 3 items is known"
    """
    if known == events:
        return None
    shown = history if len(history) <= 60 else history[:60] + "..."
    verb = "is" if known == 1 else "are"
    said = f"history {shown!r}: {known} of {events} items {verb} known"
    if not known:
        said += "; the answer is that of an empty history"
    return f"{said}; between items stand spaces, not commas" if "," in history else said
