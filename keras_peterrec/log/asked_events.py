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
        """`"event_type=cart,buy"` as an object; InputError for another form."""
        return cls(*field_and_values(text))

    def __str__(self) -> str:
        return f"{self.field}={','.join(self.values)}"

    def mask(self, events: Events) -> np.ndarray:
        """Which events they are, bool `[N]`; InputError if the log lacks the column."""
        field = field_of(events, self.field)
        wanted = np.array([*(value in self.values for value in field.values), False])
        return wanted[field.codes]  # -1, a missing one, is the last
