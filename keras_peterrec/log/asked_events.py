"""Which events of a log are to be predicted, where that is not all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_peterrec.log.column_names import field_and_values
from keras_peterrec.log.field_kind import field_of

if TYPE_CHECKING:
    from keras_peterrec.log.events import Events


@dataclass(frozen=True)
class AskedEvents:
    """The events with some values of a field, such as purchases: `event_type=buy`.

    Histories have all events; training and measuring ask for these alone.

    Args:
        field: str. A column of the log.
        values: tuple of str.

    Example:

    >>> AskedEvents.parse("event_type=cart,buy").values
    ('cart', 'buy')
    """

    field: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: Any) -> AskedEvents:
        """`"event_type=cart,buy"` as an object.

        Raises:
            InputError: it has another form.
        """
        return cls(*field_and_values(text))

    def __str__(self) -> str:
        return f"{self.field}={','.join(self.values)}"

    def mask(self, events: Events) -> np.ndarray:
        """Which events they are, bool `[N]`.

        Raises:
            InputError: the log lacks the column.
        """
        field = field_of(events, self.field)
        wanted = np.array([*(value in self.values for value in field.values), False])
        return wanted[field.codes]  # -1, a missing one, is the last


class PlacesOfAsked:
    """The places of the events of users that may be asked for, which have one before them.

    Args:
        events: Events with `asked`.
    """

    def __init__(self, events: Events) -> None:
        self._offsets = events.offsets
        asked = events.asked & (events.places > 0)
        self._found = np.append(np.flatnonzero(asked), len(asked))
        self._passed = np.concatenate([[0], np.cumsum(asked)])

    def last_but(self, others: int) -> np.ndarray:
        """Each user's last one but so many, counted from 0, int64 `[U]`; -1 for none."""
        nth = self._passed[self._offsets[1:]] - 1 - others
        has = nth >= self._passed[self._offsets[:-1]]
        return np.where(has, self._found[np.maximum(nth, 0)] - self._offsets[:-1], -1)

    def first_of(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Each user's first one between two places; -1 for none."""
        begins = self._offsets[:-1]
        place = self._found[self._passed[begins + starts]] - begins
        return np.where(place < stops, place, -1)
