"""Lists of items of any lengths, in one flat array."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_peterrec.integers import counted_up, offsets_of


@dataclass(frozen=True)
class ItemLists:
    """A list of items for each row: row `r` has `items[offsets[r]:offsets[r + 1]]`.

    One row with thousands of items costs the others nothing, as it would in a padded array.
    Offsets are int64 `[E + 1]`, items int32 ids `[N]`; weights float32 `[N]`, how much each item
    counts in a loss, or `None`, all alike.

    Example:

    >>> lists = ItemLists.of([[7, 5], [], [9]])
    >>> lists[0].tolist(), lists.lengths.tolist(), lists.rows.tolist()
    ([7, 5], [2, 0, 1], [0, 0, 2])
    >>> lists[np.array([2, 0])].items.tolist()
    [9, 7, 5]
    """

    offsets: np.ndarray
    items: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "ItemLists":
        """The ItemLists of a list of lists."""
        offsets = offsets_of(np.array([len(items) for items in lists], "int64"))
        return cls(offsets, np.concatenate([[], *lists]).astype("int32"))

    def __len__(self) -> int:
        """The number of rows E."""
        return len(self.offsets) - 1

    def __getitem__(self, chosen: Any) -> Any:
        """The items of one row; or the ItemLists of some, for a mask or an array of row numbers."""
        if isinstance(chosen, (int, np.integer)):
            if not -len(self) <= chosen < len(self):
                raise IndexError(chosen)  # also ends a loop over the rows
            row = chosen % len(self)
            return self.items[self.offsets[row] : self.offsets[row + 1]]
        starts, lengths = self.offsets[:-1][chosen], self.lengths[chosen]
        offsets = offsets_of(lengths)
        places = np.repeat(starts, lengths) + counted_up(lengths)
        weights = None if self.weights is None else self.weights[places]
        return ItemLists(offsets, self.items[places], weights)

    @property
    def lengths(self) -> np.ndarray:
        """How many items each row has, `[E]`."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """The row of each item, `[N]`."""
        return np.repeat(np.arange(len(self)), self.lengths)
