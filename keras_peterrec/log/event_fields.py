"""What a network reads of an event beside its item: the time until the next one, and fields.

Each of these is a whole number of an event: a row of a small table, or 0 where it is not told. So
the *rows* of a log are int32 `[N, 1 + F + V]`: the item's id, F such numbers and, of the V fields
of numbers, the value itself in small steps, which the linear part adds up. Where a network reads
items alone the rows are the ids, `[N]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_peterrec.errors import refuse
from keras_peterrec.log.clocks import unit_of
from keras_peterrec.log.events import Events
from keras_peterrec.log.field_kind import ColumnKind, FieldKind, field_of
from keras_peterrec.log.field_kinds import TimeUntilNext, Untold, field_from_config, find_field
from keras_peterrec.types import Json

# So large a share of equal steps is no clock's: the numbers only say which event was before which.
_EQUAL_STEPS = 0.9


class EventFields:
    """The fields that a network reads, in the order of their columns in a row.

    Args:
        fields: sequence of FieldKind. Defaults to `()`: items alone.

    Example:

    >>> log = Events.from_columns(["ann", "bob", "ann"], ["x", "x", "y"], [9e8, 9e8, 9e8 + 60])
    >>> events = log.encode(Vocabulary(["x", "y"]))
    >>> EventFields([TimeUntilNext()]).rows(events).tolist()
    [[4, 13], [5, 0], [4, 0]]
    >>> EventFields().rows(events).tolist()
    [4, 5, 4]
    """

    def __init__(self, fields: Iterable[FieldKind] = ()) -> None:
        self.fields = tuple(fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Iterator[FieldKind]:
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
    def of_columns(self) -> list[ColumnKind]:
        """The fields that columns of a log tell."""
        return [field for field in self.fields if isinstance(field, ColumnKind)]

    @property
    def with_values(self) -> list[Any]:
        """The fields whose values stand in a row behind the numbers of all fields.

        Those of columns come first: they stand in the same place whether or not a task reads times.
        """
        have = [field for field in self.fields if field.has_values]
        return sorted(have, key=lambda field: not isinstance(field, ColumnKind))

    @property
    def width(self) -> int:
        """How many columns a row has: 1 + F + V."""
        return 1 + len(self.fields) + len(self.with_values)

    @property
    def of_tasks(self) -> EventFields:
        """What tasks read that have no fields of their own; see `of_task`."""
        return self.of_task(EventFields())

    def of_task(self, own: EventFields) -> EventFields:
        """What a task reads: all but the time until the next event, and then its own fields.

        The rows of a task are cuts of one history, which a pass over it answers together. After
        which event of the source log a question of the task comes does not tell when. `own` are the
        fields that the host does not read, or reads in another way: one with the name of a field of
        the host takes its place.
        """
        if not self.columns and not len(own):
            return EventFields()
        named = {field.name: field for field in own}
        fields = [named.pop(field.name, field.of_tasks) for field in self.fields]
        return EventFields([*fields, *named.values()])

    def untold_to_task(self, own: EventFields) -> list[int]:
        """The columns of a row, from 1 on, of fields that `of_task` leaves out: what has a table
        in the network, and nothing in a task's rows.
        """
        told = {field.name for field in self.of_task(own) if not isinstance(field, Untold)}
        return [n for n, field in enumerate(self.fields, 1) if field.name not in told]

    @property
    def read_times(self) -> bool:
        """Whether the timestamps of a log are needed."""
        return any(field.reads_times for field in self.fields)

    @property
    def columns(self) -> list[str]:
        """The columns of a log that are needed beside its times."""
        return [field.name for field in self.of_columns]

    def rows(self, events: Events) -> np.ndarray:
        """What is read of encoded events: int32 `[N, 1 + F + V]`, or the ids `[N]`.

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
        return [field.to_config() for field in self.fields]

    @classmethod
    def from_config(cls, config: Iterable[Json]) -> EventFields:
        """What `to_config` wrote, as an object."""
        return cls(map(field_from_config, config))


def find_fields(events: Events, names: Sequence[str] = (), times: bool = True) -> EventFields:
    """The fields that a network is to read of a log: times, and the named columns.

    Only events that are trained on say how a field is read. Times are read if `times` is true and
    they tell when an event was.

    Raises:
        InputError: the log lacks a column, or no event that is trained on has a value in it.
    """
    time = TimeUntilNext()
    if times and time.name in names:
        refuse("fields", f"without {time.name!r}, which names the time until the next event", names)
    trained = events.places < np.repeat(events.split.trained, events.lengths)
    fields: list[FieldKind] = [time] if times and not is_only_an_order(events) else []
    return EventFields([*fields, *(find_field(field_of(events, n), n, trained) for n in names)])


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
