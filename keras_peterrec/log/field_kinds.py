"""The kinds of fields of an event, and how a column is found to be of one.

A kind is a class here and its place in the table at the end, or `register_field_kind`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.log.clocks import milliseconds, unit_of
from keras_peterrec.log.field_kind import (
    FEW_NUMBERS,
    ColumnKind,
    FieldKind,
    Words,
    as_number,
    as_numbers,
    bucket_edges,
    by_code,
    field_of,
)
from keras_peterrec.log.id_text import written
from keras_peterrec.log.vocabulary import is_item
from keras_peterrec.types import Json

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_peterrec.log.events import Events
    from keras_peterrec.log.table_columns import Field

MOST_CATEGORIES = 1_000  # of a field; rarer ones are not told
VALUE_STEPS = 4_096  # in which a value is told, in one `unit`
MOST_VALUE = 2**30  # steps; what is further away counts as so far
# Where the buckets of times begin, in milliseconds: 1, 1.4, 2, 2.8, 4 seconds ... to eleven years.
TIME_EDGES = np.unique(np.round(1_000 * 2.0 ** (np.arange(57) / 2))).astype("int64")


@dataclass(frozen=True)
class TimeUntilNext(FieldKind):
    """The time until the user's next known event or, after the last one, until the question.

    In buckets whose bounds grow by a factor of √2. What tells a next click within the minute from
    one after a month is known when a server is asked; the time since the event before says little
    of what comes next.
    """

    kind: ClassVar[str] = "time"
    reads_times: ClassVar[bool] = True
    name: str = "time"

    @property
    def size(self) -> int:
        return 2 + len(TIME_EDGES)

    @property
    def of_tasks(self) -> FieldKind:
        return Untold(self.name, self.size)

    def numbers(self, events: Events) -> np.ndarray:
        # The next known event of anybody; a user's last one has that of another user.
        known = np.where(is_item(events.items), np.arange(len(events)), len(events))
        following = np.append(np.minimum.accumulate(known[::-1])[::-1], len(events))[1:]
        end = np.repeat(events.offsets[1:], events.lengths)
        return _time_numbers(events, np.arange(len(events)), following, following < end)

    def read(self, words: Words, table: Any = None) -> tf.Tensor:
        """Its numbers; 0 for a user's last word, which nothing follows."""
        import tensorflow as tf

        times, told = as_numbers(words.times)
        gaps = tf.cast(tf.round((times[1:] - times[:-1]) * 1_000), tf.int64)
        both = told[1:] & told[:-1] & (words.rows[1:] == words.rows[:-1])
        buckets = 1 + tf.searchsorted(tf.constant(TIME_EDGES), gaps, side="right")
        return tf.pad(tf.where(both, buckets, 0), [[0, 1]])[: tf.size(words.rows)]


def _time_numbers(events, earlier, later, told):
    """The buckets of the times between places of a log, int32 `[N]`; 0 where they are not told."""
    times = events.timestamps
    unit = None if times is None else unit_of(times)
    if unit is None:
        return np.zeros(len(events), "int32")
    gaps = times[np.where(told, later, 0)] - times[np.where(told, earlier, 0)]
    buckets = 1 + np.searchsorted(TIME_EDGES, milliseconds(gaps, unit), side="right")
    return np.where(told, buckets, 0).astype("int32")


@dataclass(frozen=True)
class Untold(FieldKind):
    """A field that the network has a table of so many `rows`, and that a task does not read."""

    kind: ClassVar[str] = "untold"
    rows: int

    @property
    def size(self) -> int:
        return self.rows

    def numbers(self, events: Events) -> np.ndarray:
        return np.zeros(len(events), "int32")

    def read(self, words: Words, table: Any = None) -> tf.Tensor:
        import tensorflow as tf

        return tf.zeros_like(words.rows)


@dataclass(frozen=True)
class TimeSincePrevious(Untold):
    """The time since the user's previous known event, for the linear part of a task alone.

    Counted in the buckets of `TimeUntilNext` it says how often a user came back, and after how
    long. It tells nothing of what comes after an event, so a history that is cut is answered as it
    was known then, whenever it is asked. The network is told nothing, as by `Untold`.
    """

    kind: ClassVar[str] = "time_since"
    reads_times: ClassVar[bool] = True
    has_values: ClassVar[bool] = True
    name: str = "time"
    rows: int = 2 + len(TIME_EDGES)

    def values(self, events: Events) -> np.ndarray:
        known = np.where(is_item(events.items), np.arange(len(events)), -1)
        previous = np.append(-1, np.maximum.accumulate(known))[:-1]
        first = np.repeat(events.offsets[:-1], events.lengths)
        return _time_numbers(events, previous, np.arange(len(events)), previous >= first)

    def read_values(self, words: Words) -> tf.Tensor:
        import tensorflow as tf

        until_next = tf.cast(TimeUntilNext().read(words), tf.int64)
        return tf.pad(until_next, [[1, 0]])[:-1]


@dataclass(frozen=True)
class Categories(ColumnKind):
    """A field of few different texts: `values` have a number, from 1 on, and all others have 0."""

    kind: ClassVar[str] = "categories"
    values: Sequence[str]

    @classmethod
    def find(cls, name: str, counts: Mapping[str, int]) -> Self:
        """Reads every column."""
        by_count = sorted(counts, key=lambda text: (-counts[text], text))
        return cls(name, by_count[:MOST_CATEGORIES])

    @property
    def size(self) -> int:
        return 1 + len(self.values)

    def described(self) -> str:
        few = ", ".join(self.values[:3]) + (", ..." if len(self.values) > 3 else "")
        return f"{len(self.values):,} categories ({few})"

    @functools.cached_property
    def _number_of(self) -> dict[str, int]:
        return {value: n for n, value in enumerate(self.values, 1)}

    def number_of(self, text: str) -> int:
        return self._number_of.get(text, 0)

    def lookup_table(self) -> tf.lookup.StaticHashTable:
        import tensorflow as tf

        keys = tf.constant([written(value) for value in self.values], tf.string)
        numbers = tf.range(1, len(self.values) + 1, dtype=tf.int32)
        return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, numbers), 0)

    def numbers_of(self, texts: tf.Tensor, table: Any) -> tf.Tensor:
        return table.lookup(texts)


@dataclass(frozen=True)
class Numbers(ColumnKind):
    """A field of numbers, in buckets that hold about as many events each.

    Buckets begin at `edges`, which rise. Values are told in `unit`, their standard deviation.
    """

    kind: ClassVar[str] = "numbers"
    has_values: ClassVar[bool] = True
    edges: Sequence[float]
    unit: float

    @classmethod
    def find(cls, name: str, counts: Mapping[str, int]) -> Self | None:
        """Reads columns of more than 20 different values, all of them finite numbers."""
        numbers = [as_number(text) for text in counts]
        if len(counts) <= FEW_NUMBERS or None in numbers:
            return None
        events = np.repeat(np.array(numbers, float), list(counts.values()))
        return cls(name, bucket_edges(events).tolist(), float(np.std(events)))

    @property
    def size(self) -> int:
        return 2 + len(self.edges)

    def described(self) -> str:
        low, high = (self.edges[0], self.edges[-1]) if len(self.edges) else (0, 0)
        return f"numbers, mostly {low:g} to {high:g}, in {1 + len(self.edges)} buckets"

    def number_of(self, text: str) -> int:
        value = as_number(text)
        return 0 if value is None else 1 + int(np.searchsorted(self.edges, value, "right"))

    def numbers_of(self, texts: tf.Tensor, table: Any = None) -> tf.Tensor:
        import tensorflow as tf

        values, told = as_numbers(texts)
        edges = tf.constant(self.edges, tf.float64)
        return tf.where(told, 1 + tf.searchsorted(edges, values, side="right"), 0)

    def values(self, events: Events) -> np.ndarray:
        """The value of each event in steps of `unit / VALUE_STEPS`, int32 `[N]`; 0 if not told."""

        def steps(text):
            value = as_number(text)
            if value is None:
                return 0
            return np.clip(np.rint(value / self.unit * VALUE_STEPS), -MOST_VALUE, MOST_VALUE)

        return by_code(field_of(events, self.name), steps)

    def read_values(self, words: Words) -> tf.Tensor:
        """The value of each word, int64 `[n]`; see `values`."""
        import tensorflow as tf

        values, _ = as_numbers(self.texts_of(words))
        steps = tf.round(values / self.unit * VALUE_STEPS)
        return tf.cast(tf.clip_by_value(steps, -MOST_VALUE, MOST_VALUE), tf.int64)


# The last one that can read a column does.
_KINDS: dict[str, type[FieldKind]] = {
    kind.kind: kind for kind in (TimeUntilNext, Untold, TimeSincePrevious, Categories, Numbers)
}

Kind = TypeVar("Kind", bound="type[FieldKind]")


def register_field_kind(kind: Kind) -> Kind:
    """Adds a kind of field of one's own. It is asked first whether it reads a column.

    A program that loads a host with such a field registers its kind first.

    Args:
        kind: subclass of ColumnKind whose `kind` no other has.

    Raises:
        InputError: it is not such a class, or its name is taken.

    Example:

    >>> from keras_peterrec.log.field_kinds import Numbers
    >>> register_field_kind(Numbers)
    Traceback (most recent call last):
    keras_peterrec.errors.InputError: `kind` should have a name that is free. Received: 'numbers'.
    """
    if not (isinstance(kind, type) and issubclass(kind, ColumnKind)):
        refuse("kind", "a subclass of ColumnKind", kind)
    if kind.kind in _KINDS:
        raise InputError(f"`kind` should have a name that is free. Received: {kind.kind!r}.")
    _KINDS[kind.kind] = kind
    return kind


def find_field(
    column: Field, name: str, trained: np.ndarray, argument: str = "fields"
) -> ColumnKind:
    """How a column is read: as the kind that takes it.

    Only events that are trained on, bool `[N]`, are looked at. `argument` is what messages call
    the columns.

    Raises:
        InputError: no event that is trained on has a value.
    """
    codes = column.codes[trained]
    counts = np.bincount(codes[codes >= 0], minlength=len(column.values))
    if not counts.any():
        refuse(argument, "columns that have a value somewhere", name)
    seen = {str(column.values[code]): int(counts[code]) for code in np.flatnonzero(counts)}
    kinds = [kind for kind in _KINDS.values() if issubclass(kind, ColumnKind)]
    found = (kind.find(name, seen) for kind in reversed(kinds))
    return next(field for field in found if field is not None)


def field_from_config(config: Json) -> Any:
    """What `FieldKind.to_config` wrote, as an object; InputError if its kind is not registered."""
    settings = dict(config)
    kind = settings.pop("kind")
    if kind not in _KINDS:
        raise InputError(
            f"`host` should have fields of the kinds {', '.join(_KINDS)}, or of one that was "
            f"registered before (`register_field_kind`). Received: {kind!r}."
        )
    return _KINDS[kind](**settings)
