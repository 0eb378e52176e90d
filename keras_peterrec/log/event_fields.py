"""What a network reads of an event beside its item: the time until the next one, and fields.

Each of these is a whole number of an event: a row of a small table, or 0 where it is not told. So
the *rows* of a log are int32 `[N, 1 + F + V]`: the item's id, F such numbers and, of the V fields
of numbers, the value itself in small steps, which the linear part adds up. Where a network reads
items alone the rows are the ids, `[N]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.log.clocks import milliseconds, unit_of
from keras_peterrec.log.events import Events, Field
from keras_peterrec.log.vocabulary import is_item
from keras_peterrec.types import Json

TIME = "time"
# A column of numbers with at most so many different ones is one of categories.
FEW_NUMBERS = 20
MOST_CATEGORIES = 1_000  # of a field; rarer ones are not told
QUANTILES = 32
VALUE_STEPS = 4_096  # in which a value is told, in one `unit`
MOST_VALUE = 2**30  # steps; what is further away counts as so far
# Where the buckets of times begin, in milliseconds: 1, 1.4, 2, 2.8, 4 seconds ... to eleven years.
TIME_EDGES = np.unique(np.round(1_000 * 2.0 ** (np.arange(57) / 2))).astype("int64")
# So large a share of equal steps is no clock's: the numbers only say which event was before which.
_EQUAL_STEPS = 0.9


@dataclass(frozen=True)
class TimeUntilNext:
    """The time until the user's next known event or, after the last one, until the question.

    In buckets whose bounds grow by a factor of √2. What tells a next click within the minute from
    one after a month is known when a server is asked; the time since the event before says little
    of what comes next.
    """

    kind: ClassVar[str] = "time"
    name: str = TIME

    @property
    def size(self) -> int:
        """Rows of its table: how many numbers there are, 0 included."""
        return 2 + len(TIME_EDGES)

    def numbers(self, events: Events) -> np.ndarray:
        """The number of each event, int32 `[N]`."""
        times, unit = events.timestamps, None
        if times is not None:
            unit = unit_of(times)
        if unit is None:
            return np.zeros(len(events), "int32")
        # The next known event of anybody; a user's last one has that of another user.
        known = np.where(is_item(events.items), np.arange(len(events)), len(events))
        following = np.append(np.minimum.accumulate(known[::-1])[::-1], len(events))[1:]
        has_next = following < np.repeat(events.offsets[1:], events.lengths)
        gaps = times[np.where(has_next, following, 0)] - times
        buckets = 1 + np.searchsorted(TIME_EDGES, milliseconds(gaps, unit), side="right")
        return np.where(has_next, buckets, 0).astype("int32")


@dataclass(frozen=True)
class Untold:
    """A field that the network has a table of, and that a task does not read.

    Args:
        name: str.
        size: int, rows of its table.
    """

    kind: ClassVar[str] = "untold"
    name: str
    size: int

    def numbers(self, events: Events) -> np.ndarray:
        """See `TimeUntilNext`."""
        return np.zeros(len(events), "int32")


@dataclass(frozen=True)
class Categories:
    """A field of few different texts.

    Args:
        name: str.
        values: sequence of str, those that have a number, from 1 on; all others have 0.
    """

    kind: ClassVar[str] = "categories"
    name: str
    values: Sequence[str]

    def described(self) -> str:
        """For people."""
        few = ", ".join(self.values[:3]) + (", ..." if len(self.values) > 3 else "")
        return f"{len(self.values):,} categories ({few})"

    @property
    def size(self) -> int:
        """See `TimeUntilNext`."""
        return 1 + len(self.values)

    def numbers(self, events: Events) -> np.ndarray:
        """See `TimeUntilNext`."""
        return self.numbers_of(field_of(events, self.name))

    def numbers_of(self, column: Field) -> np.ndarray:
        """The number of each text of a column, int32 `[N]`."""
        places = {value: n for n, value in enumerate(self.values, 1)}
        return _by_code(column, lambda text: places.get(text, 0))


@dataclass(frozen=True)
class Numbers:
    """A field of numbers, in buckets that hold about as many events each.

    Args:
        name: str.
        edges: sequence of float, where buckets begin, rising.
        unit: float. In what values are told: their standard deviation.
    """

    kind: ClassVar[str] = "numbers"
    name: str
    edges: Sequence[float]
    unit: float

    def described(self) -> str:
        """For people."""
        low, high = (self.edges[0], self.edges[-1]) if len(self.edges) else (0, 0)
        return f"numbers, mostly {low:g} to {high:g}, in {1 + len(self.edges)} buckets"

    @property
    def size(self) -> int:
        """See `TimeUntilNext`."""
        return 2 + len(self.edges)

    def numbers(self, events: Events) -> np.ndarray:
        """See `TimeUntilNext`."""
        return self.numbers_of(field_of(events, self.name))

    def numbers_of(self, column: Field) -> np.ndarray:
        """See `Categories`."""

        def bucket(text):
            value = as_number(text)
            return 0 if value is None else 1 + int(np.searchsorted(self.edges, value, "right"))

        return _by_code(column, bucket)

    def values(self, events: Events) -> np.ndarray:
        """The value of each event in steps of `unit / VALUE_STEPS`, int32 `[N]`; 0 if not told."""

        def steps(text):
            value = as_number(text)
            if value is None:
                return 0
            return np.clip(np.rint(value / self.unit * VALUE_STEPS), -MOST_VALUE, MOST_VALUE)

        return _by_code(field_of(events, self.name), steps)


_KINDS = {kind.kind: kind for kind in (TimeUntilNext, Untold, Categories, Numbers)}


class EventFields:
    """The fields that a network reads, in the order of their columns in a row.

    Args:
        fields: sequence of TimeUntilNext, Categories and Numbers. Defaults to `()`: items alone.

    Example:

    >>> log = Events.from_columns(["ann", "bob", "ann"], ["x", "x", "y"], [9e8, 9e8, 9e8 + 60])
    >>> events = log.encode(Vocabulary(["x", "y"]))
    >>> EventFields([TimeUntilNext()]).rows(events).tolist()
    [[4, 13], [5, 0], [4, 0]]
    >>> EventFields().rows(events).tolist()
    [4, 5, 4]
    """

    def __init__(self, fields: Iterable[Any] = ()) -> None:
        self.fields = tuple(fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Any:
        return iter(self.fields)

    @property
    def names(self) -> list[str]:
        """Their names, that of the time included."""
        return [field.name for field in self.fields]

    @property
    def sizes(self) -> dict[str, int]:
        """How many rows the table of each has: what a network is made with."""
        return {field.name: field.size for field in self.fields}

    @property
    def with_values(self) -> list[Numbers]:
        """The fields whose values stand in a row behind the numbers of all fields."""
        return [field for field in self.fields if isinstance(field, Numbers)]

    @property
    def width(self) -> int:
        """How many columns a row has: 1 + F + V."""
        return 1 + len(self.fields) + len(self.with_values)

    @property
    def of_tasks(self) -> EventFields:
        """What tasks read: all but the time until the next event.

        The rows of a task are cuts of one history, which a pass over it answers together. After
        which event of the source log a question of the task comes does not tell when.
        """
        if not self.columns:
            return EventFields()
        told = (Untold(f.name, f.size) if f.name == TIME else f for f in self.fields)
        return EventFields(told)

    @property
    def read_times(self) -> bool:
        """Whether the timestamps of a log are needed."""
        return any(isinstance(field, TimeUntilNext) for field in self.fields)

    @property
    def columns(self) -> list[str]:
        """The columns of a log that are needed beside its times."""
        return [name for name in self.names if name != TIME]

    def rows(self, events: Events) -> np.ndarray:
        """What is read of each event: int32 `[N, 1 + F + V]`, or the ids `[N]`.

        Args:
            events: Events, encoded.

        Raises:
            InputError: the log lacks a field.
        """
        if not self.fields:
            return events.items
        columns = [events.items, *(field.numbers(events) for field in self.fields)]
        columns += [field.values(events) for field in self.with_values]
        return np.stack(columns, axis=1).astype("int32")

    def texts(self, events: Events, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The events of users as texts that tell these fields; see `Events.history_texts`."""
        return events.history_texts(start, stop, self.read_times, self.columns)

    def to_config(self) -> list[Json]:
        """JSON values, for `from_config`."""
        return [{"kind": field.kind, **asdict(field)} for field in self.fields]

    @classmethod
    def from_config(cls, config: Iterable[Json]) -> EventFields:
        """What `to_config` wrote, as an object."""
        fields = []
        for saved in config:
            named = {key: value for key, value in saved.items() if key != "kind"}
            fields.append(_KINDS[saved["kind"]](**named))
        return cls(fields)


def find_fields(events: Events, names: Sequence[str] = (), times: bool = True) -> EventFields:
    """The fields that a network is to read of a log.

    Args:
        events: Events, encoded. Only those that are trained on say how a field is read.
        names: sequence of str, columns of the log. Defaults to `()`, none.
        times: bool. Whether times are read, where the timestamps tell when an event was. Defaults
            to `True`.

    Raises:
        InputError: the log lacks a column, or no event that is trained on has a value in it.
    """
    if times and TIME in names:
        refuse("fields", f"without {TIME!r}, which names the time until the next event", names)
    trained = events.places < np.repeat(events.split.trained, events.lengths)
    fields: list[Any] = [TimeUntilNext()] if times and not is_only_an_order(events) else []
    return EventFields([*fields, *(find_field(field_of(events, n), n, trained) for n in names)])


def find_field(
    field: Field, name: str, trained: np.ndarray, argument: str = "fields"
) -> Categories | Numbers:
    """How a column is read: as categories, or as numbers in buckets.

    Numbers are what has more than 20 different values, all of them finite numbers.

    Args:
        field: Field.
        name: str.
        trained: bool array `[N]`, the events that are trained on. No other is looked at.
        argument: str. What messages call the columns. Defaults to `"fields"`.

    Raises:
        InputError: no event that is trained on has a value.
    """
    codes = field.codes[trained]
    codes = codes[codes >= 0]
    if not len(codes):
        refuse(argument, "columns that have a value somewhere", name)
    counts = np.bincount(codes, minlength=len(field.values))
    present = np.flatnonzero(counts)
    values = [as_number(field.values[code]) for code in present]
    if len(present) > FEW_NUMBERS and None not in values:
        events = np.repeat(values, counts[present])
        edges = np.quantile(events, np.arange(1, QUANTILES) / QUANTILES, method="inverted_cdf")
        return Numbers(name, [float(edge) for edge in np.unique(edges)], float(np.std(events)))
    order = np.lexsort((field.values[present].astype(str), -counts[present]))[:MOST_CATEGORIES]
    return Categories(name, [str(value) for value in field.values[present[order]]])


def is_only_an_order(events: Events) -> bool:
    """Whether the timestamps tell which event came before which, but not when.

    So it is where their numbers do not lie between 1980 and 2100, in whatever unit, or where nearly
    all steps from one event of a user to the next are equal.
    """
    times = events.timestamps
    if times is None or unit_of(times) is None:
        return True
    steps = np.diff(times)[events.users[1:] == events.users[:-1]]
    steps = steps[: 10**6]
    if not len(steps) or not steps.any():
        return True
    _, counts = np.unique(steps[steps != 0], return_counts=True)
    return bool(counts.max() >= _EQUAL_STEPS * len(steps))


def field_of(events: Events, name: str) -> Field:
    """A field of a log by its name.

    Raises:
        InputError: the log has none of this name.
    """
    if name not in events.fields:
        raise InputError(
            f"`log` should have the column {name!r}, which the host reads. "
            f"Received: {', '.join(events.fields) or 'no more columns'}."
        )
    return events.fields[name]


def as_number(text: str) -> float | None:
    """A finite number, or `None` where a text is something else."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _by_code(field, number_of_text):
    """The number of each event, where that of each different text is found once."""
    numbers = [number_of_text(text) for text in field.values]
    return np.array([*numbers, 0], "int32")[field.codes]  # -1, a missing one, is the last
