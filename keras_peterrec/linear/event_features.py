"""What the linear part reads of an event beside its item: its fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from keras import ops

from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.field_kinds import VALUE_STEPS, TimeSincePrevious
from keras_peterrec.log.vocabulary import event_items, is_item, number_of
from keras_peterrec.types import Tensor


class Feature(NamedTuple):
    """One thing that is read of every event.

    Args:
        rows: int. Rows of the linear part's table that belong to it.
        number: int or `None`. The column, of a row of an event, with the number that says which of
            these rows counts, from 1 on; 0 is none. `None`: there is one row, which always counts.
        value: int or `None`. The column of a value, in steps, which that row counts. `None`: it
            counts 1.
    """

    rows: int
    number: int | None
    value: int | None


class EventFeatures(tuple):
    """The features that a linear part reads of an event beside its item; none of most logs.

    An event counts its item and, of each field that is told, the number: the category, or the
    bucket. Of a field of numbers it counts the value as well, and once more in its own row for each
    category of a field of few: so a sum of prices is that of what was bought, too. The time until
    the next event is not read; a task may count that since the previous one, `TimeSincePrevious`.

    The rows of the features stand before those of the items, to which more may come.

    Args:
        features: iterable of Feature, or of what one is made of. Defaults to `()`, none.

    Example:

    >>> fields = EventFields([Categories("kind", ["view", "buy"])])
    >>> EventFeatures.of(fields).rows
    2
    """

    def __new__(cls, features: Iterable[Any] = ()) -> EventFeatures:
        return super().__new__(cls, (Feature(*feature) for feature in features))

    @classmethod
    def of(cls, fields: EventFields, times: bool = True) -> EventFeatures:
        """All that may be read of the fields of a host or a task.

        Args:
            fields: EventFields.
            times: bool. Whether the times between events are, which come last. Defaults to `True`.
        """
        columns = {field.name: number for number, field in enumerate(fields, 1)}
        behind = 1 + len(fields)
        values = {field.name: behind + n for n, field in enumerate(fields.with_values)}
        found = [Feature(f.size - 1, columns[f.name], None) for f in fields.of_columns]
        few = [field for field in fields.of_columns if field.is_few]
        for value in [values[f.name] for f in fields.of_columns if f.has_values]:
            found.append(Feature(1, None, value))
            found += [Feature(f.size - 1, columns[f.name], value) for f in few]
        between = [f for f in fields if times and isinstance(f, TimeSincePrevious)]
        return cls([*found, *(Feature(f.size - 1, values[f.name], None) for f in between)])

    @property
    def rows(self) -> int:
        """How many rows of a table they have together."""
        return sum(feature.rows for feature in self)

    def matrix(self, rows: np.ndarray, items: int) -> scipy.sparse.csr_matrix:
        """What each event counts, sparse float32 `[N, rows + items]`; nothing of unknown items.

        Args:
            rows: int array `[N, 1 + F + V]`, of `EventFields.rows`.
            items: int. Items of the vocabulary, without special ids.
        """
        known = np.flatnonzero(is_item(event_items(rows)))
        rows, first, count = rows[known], 0, len(rows)
        places, columns = [known], [self.rows + number_of(event_items(rows))]
        values = [np.ones(len(known), "float32")]
        for feature in self:
            number = np.ones(len(rows), "int64")
            if feature.number is not None:
                number = rows[:, feature.number]
            value = np.ones(len(rows), "float32")
            if feature.value is not None:
                value = (rows[:, feature.value] / VALUE_STEPS).astype("float32")
            told = (number > 0) & (value != 0)
            places.append(known[told])
            columns.append(first + number[told] - 1)
            values.append(value[told])
            first += feature.rows
        cells = np.concatenate(places), np.concatenate(columns)
        shape = count, self.rows + items
        return scipy.sparse.csr_matrix((np.concatenate(values), cells), shape)

    def spread(
        self, history: Tensor, items: Tensor, weights: Tensor, first: Any = 0
    ) -> tuple[Tensor, Tensor]:
        """All that events count: rows of the table, and how much, `[B, L · (1 + features)]` each.

        Args:
            history: int32 tensor of shape `[B, L, 1 + F + V]`.
            items: int32 tensor `[B, L]`, the items' rows of the table.
            weights: float32 tensor `[B, L]`. How much each event counts.
            first: int or int32 tensor `[B, 1]`. Rows before those of the features. Defaults to `0`.
        """
        places, counted = [items], [weights]
        for feature in self:
            place, count = ops.zeros_like(items), weights
            if feature.number is not None:
                number = history[..., feature.number]
                place = ops.maximum(number - 1, 0)
                count = count * ops.cast(number > 0, "float32")
            if feature.value is not None:
                steps = ops.cast(history[..., feature.value], "float32")
                count = count * (steps / VALUE_STEPS)
            places.append(first + place)
            counted.append(count)
            first = first + feature.rows
        return ops.concatenate(places, axis=1), ops.concatenate(counted, axis=1)
