"""How ids stand in a text where white space separates them."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError

# White space as `str.split` knows it: more than a server's split does, which knows ASCII alone. And
# what separates the parts of an event; see `event_text.py`.
_SEPARATOR = re.compile(r"[\s@;]")
# They separate the lines of a vocabulary's file.
_BREAK = re.compile("[\n\r]")


def written(id_: str) -> str:
    """An id as it stands in a history: percent-encoded where it has white space, `@` or `;`.

    A history is one string of events with spaces between them, and `@` and `;` come before what is
    told of an event. Only these are encoded: an id without any stays as it is.

    Example:

    >>> written("New York"), written("ann@home"), written("50%")
    ('New%20York', 'ann%40home', '50%')
    """
    return _SEPARATOR.sub(lambda found: quote(found[0]), id_)


def has_separator(ids: Iterable[str]) -> bool:
    """Whether any id is written in another way than it is; see `written`."""
    # Each different character is tested once: they are few, and the ids may be millions.
    return any(map(_SEPARATOR.match, set("".join(ids))))


def check_ids(ids: Iterable[str], argument: str) -> None:
    """Raises InputError if one of different ids is empty or has a line break, or two would be
    written alike.
    """
    encoded = has_separator(ids)
    bad = "" if "" in ids else None
    if encoded:
        bad = next((id_ for id_ in ids if not id_.strip() or _BREAK.search(id_)), bad)
    if bad is not None:
        raise InputError(
            f"`{argument}` should be ids that are not empty and have no line break. "
            f"Received: {bad!r}."
        )
    if not encoded:
        return
    numbers = {}
    for id_ in ids:
        text = written(id_)
        if numbers.setdefault(text, id_) != id_:
            raise InputError(
                f"`{argument}` should differ also where they are written as in {text!r}. "
                f"Received: {numbers[text]!r} and {id_!r}."
            )


def written_texts(item_ids: Any) -> pa.Array:
    """Items as they stand in a history: pyarrow array of strings."""
    texts = map(written, item_ids) if has_separator(item_ids) else item_ids
    return pa.array(list(texts), pa.string())


def joined_texts(events: pa.Array, offsets: np.ndarray) -> pa.Array:
    """Histories as texts, events separated by spaces: pyarrow array of strings, `[U]`.

    User u has `events[offsets[u]:offsets[u + 1]]`.
    """
    offsets = pa.array(np.asarray(offsets, "int32"))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, events), " ")


def with_times(events: pa.Array, times: np.ndarray) -> pa.Array:
    """Events as texts that tell their times, int64 milliseconds since 1970, too: `item@seconds`."""
    seconds = pa.array(times // 1_000).cast(pa.string())
    if (times % 1_000).any():
        parts = pc.utf8_lpad(pa.array(times % 1_000).cast(pa.string()), 3, "0")
        seconds = pc.binary_join_element_wise(seconds, parts, ".")
    return pc.binary_join_element_wise(events, seconds, "@")


def with_field(events: pa.Array, name: str, values: np.ndarray) -> pa.Array:
    """Events as texts that tell a field as well, `item;name=value`; `None` where one has none."""
    known = {value: f";{written(name)}={written(value)}" for value in set(values) - {None}}
    told = pa.array([known.get(value, "") for value in values], pa.string())
    return pc.binary_join_element_wise(events, told, "")


def comma_hint(history: str) -> str | None:
    """What to tell someone whose history is one word with commas, or `None`.

    Such a history is answered: as of one item, which nobody knows.

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
    """What to tell someone of whose history only so many events are of known items, else `None`.

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
