"""A history as a vector: how much each item, or what is read of events, counts in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from keras_peterrec.integers import offsets_of
from keras_peterrec.log.vocabulary import is_item, number_of

# Events that are read where nothing else is said. They cost a row of a table each, so they reach
# much further back than the network.
EVENTS = 500


def faded(back: Any, rate: Any) -> Any:
    """The law of the bag: `w` of events so many places back; arrays, or tensors of a model."""
    return 1.0 / (1.0 + back * rate)


@dataclass(frozen=True)
class Bag:
    """How a history becomes a vector x with one number for each item, in no order.

        x = Σ_j w(j) e(j-th last known event) / (Σ_j w(j))^power,   w(j) = 1 / (1 + j / fade)

    Unknown events are left out: they add nothing, and known ones are counted as if the unknown
    were not there. Where the fields of events are read as well, e of an event is the row of what
    `EventFeatures.matrix` says that it counts.

    Args:
        fade: float or `None`. How many events back one counts half. Defaults to `None`: all
            count the same.
        power: float. 0 for the sum, 1 for the mean. Defaults to `0.0`.
        events: int. How many of the last known events are read. Defaults to `EVENTS`.
    """

    fade: float | None = None
    power: float = 0.0
    events: int = EVENTS

    @property
    def rate(self) -> float:
        """`1 / fade`; 0 if nothing fades."""
        return 0.0 if self.fade is None else 1.0 / self.fade

    def weights(self) -> np.ndarray:
        """`w`, float32 `[events]`."""
        return faded(np.arange(self.events), self.rate).astype("float32")

    def matrix(
        self,
        items: np.ndarray,
        starts: np.ndarray,
        stops: np.ndarray,
        size: int,
        counted: Any = None,
    ) -> scipy.sparse.csr_matrix:
        """The vectors of many histories.

        Args:
            items: int array of ids, as `Events.items`.
            starts, stops: int arrays `[E]`; history e is `items[starts[e]:stops[e]]`.
            size: int. Items I of the vocabulary, without special ids, or what each event counts:
                columns of `counted`.
            counted: sparse matrix `[N, I]` of `EventFeatures.matrix`, or `None`. Defaults to
                `None`: each event counts its item.

        Returns:
            Sparse float32 matrix `[E, I]`.
        """
        kept, first, last = only_known(items, starts, stops)
        if counted is None:
            return self.of_known(kept, first, last, size)
        return self.of_counted(known_rows(items, counted), first, last)

    def of_counted(self, counted: Any, starts: np.ndarray, stops: np.ndarray) -> Any:
        """The same of what each known event counts, sparse `[M, I]`."""
        events = counted.shape[0]
        return self.of_known(np.arange(events), starts, stops, events) @ counted

    def of_known(
        self, items: np.ndarray, starts: np.ndarray, stops: np.ndarray, size: int
    ) -> scipy.sparse.csr_matrix:
        """The same of histories as `only_known` returns them."""
        starts = np.maximum(starts, stops - self.events)
        counts = stops - starts
        offsets = offsets_of(counts)
        back = np.repeat(offsets[1:], counts) - 1 - np.arange(offsets[-1])
        values = self.weights()[back]
        if self.power:
            values *= np.repeat(self._scales(counts), counts)
        columns = items[np.repeat(stops, counts) - 1 - back]
        bags = scipy.sparse.csr_matrix((values, columns, offsets), (len(counts), size))
        bags.sum_duplicates()
        return bags

    def _scales(self, counts):
        """What a bag of so many events is multiplied with, float32."""
        sums = np.cumsum(self.weights(), dtype="float64")
        return (sums[np.maximum(counts, 1) - 1] ** -self.power).astype("float32")

    def rows(self, ages: np.ndarray) -> np.ndarray:
        """Weights of events by how many known ones came after them; 0 where negative, `[S, T]`."""
        weights = self.weights()
        inside = (ages >= 0) & (ages < self.events)
        rows = np.where(inside, weights[np.where(inside, ages, 0)], np.float32(0))
        return rows * self._scales(inside.sum(axis=1))[:, None] if self.power else rows


def before_items(told: np.ndarray | None, user_values: int, bags: Any) -> Any:
    """Bags of items `[E, I]` with what is told of the users before them, sparse `[E, M + I]`.

    Args:
        told: int array `[E, G]`: 1 for the first value, and 0 for none; `None`, nothing is told.
        user_values: int. M.
        bags: sparse matrix.
    """
    if not user_values:
        return bags
    told = np.zeros((bags.shape[0], 1), "int32") if told is None else np.asarray(told)
    places = np.nonzero(told)
    rows = places[0]
    cells = np.ones(len(rows), "float32"), (rows, told[places] - 1)
    values = scipy.sparse.csr_matrix(cells, (len(told), user_values))
    return scipy.sparse.hstack([values, bags], format="csr", dtype="float32")


def only_known(
    items: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histories without their special ids: item numbers from 0, and where each starts and stops."""
    is_known = is_item(np.asarray(items))
    before = np.concatenate([[0], np.cumsum(is_known)])
    return number_of(np.asarray(items)[is_known]), before[starts], before[stops]


def known_rows(items: np.ndarray, counted: Any) -> Any:
    """What known events count, of what all of them do: sparse `[M, I]`; see `only_known`."""
    return counted[np.flatnonzero(is_item(np.asarray(items)))]
