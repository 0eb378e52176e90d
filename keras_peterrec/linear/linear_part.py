"""The linear part: what the items of a history say of the answer, each for itself."""

import dataclasses
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from keras_peterrec.errors import refuse
from keras_peterrec.integers import offsets_of
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.log.vocabulary import event_items, is_item, number_of
from keras_peterrec.types import Json

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


@dataclass
class LinearPart:
    """Scores `x(history) · table + bias`, fitted without a network.

    Args:
        table: float32 array `[I, Y]`, or a sparse matrix of that shape; with features, their rows
            come first.
        bias: float32 array `[Y]`.
        chosen: dict. The settings that validation chose, for people.
        weight: float, not 0. Scores are `weight · (x T + bias)`. Defaults to `1.0`.
        user_values: int. How many values columns of users have, whose rows of the table come before
            those of the items. Defaults to `0`.
        features: EventFeatures that it reads beside the items. Defaults to `EventFeatures()`, none.
    """

    bag: Bag
    table: Any
    bias: np.ndarray
    chosen: dict = field(default_factory=dict)
    weight: float = 1.0
    user_values: int = 0
    features: EventFeatures = EventFeatures()

    @property
    def outputs(self) -> int:
        """Y."""
        return self.table.shape[1]

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return self.table.nnz if self.is_sparse else self.table.size

    def moved(self, weight: float, towards: np.ndarray | float = 0.0) -> "LinearPart":
        """The same with the scores s moved: `weight · (s - towards)`."""
        bias = np.asarray(self.bias - towards / self.weight, "float32")
        return dataclasses.replace(self, bias=bias, weight=float(self.weight * weight))

    def folded(self) -> "LinearPart":
        """The same with the weight in the table and the bias, to be added to others."""
        table = (self.table * np.float32(self.weight)).astype("float32")
        bias = (self.bias * np.float32(self.weight)).astype("float32")
        return dataclasses.replace(self, table=table, bias=bias, weight=1.0)

    def looking_back(self, events: int) -> "LinearPart":
        """The same, that reads so many of the last known events of a history."""
        bag = dataclasses.replace(self.bag, events=events)
        return dataclasses.replace(self, bag=bag, chosen={**self.chosen, "events": events})

    def as_chosen(self, chosen: dict, same: np.ndarray, shares: np.ndarray) -> "LinearPart":
        """The same with what validation chose after an earlier fit: `events`, `copy`, `popularity`.

        Args:
            chosen: dict, of that linear part.
            same: int array `[I]`; see `copying`.
            shares: float array `[Y]`; see `with_popularity`.
        """
        part = self.looking_back(chosen["events"]) if "events" in chosen else self
        part = part.copying(chosen.get("copy", 0.0), same)
        return part.with_popularity(chosen.get("popularity", 0.0), shares)

    def copying(self, amount: float, same: np.ndarray) -> "LinearPart":
        """The same with more for an item that is in the history already.

        Where items are often repeated, a rare one is as well, which its own few rows cannot say:
        a ridge regression holds what it knows little of to zero.

        Args:
            amount: float. What is added to the table where an item meets itself.
            same: int array `[I]`. The output that is the same item, or -1.
        """
        if not amount:
            return self
        items, before = np.flatnonzero(same >= 0), self.user_values + self.features.rows
        amounts = np.full(len(items), amount, "float32")
        places = before + items, same[items]
        if self.is_sparse:
            table = self.table + scipy.sparse.csr_matrix((amounts, places), self.table.shape)
        else:
            table = self.table.copy()
            table[places] += amounts
        return dataclasses.replace(self, table=table, chosen={**self.chosen, "copy": amount})

    def with_popularity(self, amount: float, shares: np.ndarray) -> "LinearPart":
        """The same with more for what everybody asks for, whatever the history.

        A history of rare items says next to nothing; and of the items that it has equally often,
        the more popular one is the likelier.

        Args:
            amount: float. What is added for all of the targets together.
            shares: float array `[Y]`. Which share of the targets of training each output is.
        """
        if not amount:
            return self
        bias = np.asarray(self.bias + amount * shares, "float32")
        return dataclasses.replace(self, bias=bias, chosen={**self.chosen, "popularity": amount})

    def scores(
        self,
        rows: np.ndarray,
        starts: np.ndarray,
        stops: np.ndarray,
        told: np.ndarray | None = None,
        counted: Any = None,
    ) -> "LinearScores":
        """What it says of many histories.

        Args:
            rows: int array `[N]` or `[N, 1 + F + V]`, ids or rows of events, as `Events.rows`.
            starts, stops: see `Bag.matrix`.
            told: int array `[E, G]`, what columns say of the users. Defaults to `None`, nothing.
            counted: what these events count by its features, if that is known; see `Bag.matrix`.
                Defaults to `None`.
        """
        if self.features and rows.ndim == 1:  # nothing but the items is told
            return self.of_items().scores(rows, starts, stops, told)
        if self.features and counted is None:
            counted = self.features.matrix(rows, self.items)
        size = self.table.shape[0] - self.user_values
        bags = self.bag.matrix(event_items(rows), starts, stops, size, counted)
        bags = before_items(told, self.user_values, bags)
        return LinearScores(bags, self.table, self.bias, self.weight)

    @property
    def items(self) -> int:
        """Items of the vocabulary, without special ids."""
        return self.table.shape[0] - self.user_values - self.features.rows

    def of_items(self) -> "LinearPart":
        """The same without what it says of features."""
        if not self.features:
            return self
        stack = scipy.sparse.vstack if self.is_sparse else np.concatenate
        users, items = self.table[: self.user_values], self.table[-self.items :]
        return dataclasses.replace(self, table=stack([users, items]), features=EventFeatures())

    def reading(self, features: EventFeatures) -> "LinearPart":
        """The same with rows for features, of which it says nothing where it reads none yet.

        Args:
            features: EventFeatures that begin with those that it reads.
        """
        read = len(self.features)
        if features[:read] != self.features:
            refuse("features", f"{self.features} and more", features)
        new = self.user_values + self.features.rows
        shape = features.rows - self.features.rows, self.outputs
        if self.is_sparse:
            table, none = self.table.tocsr(), scipy.sparse.csr_matrix(shape, dtype="float32")
            table = scipy.sparse.vstack([table[:new], none, table[new:]], format="csr")
        else:
            none = np.zeros(shape, "float32")
            table = np.concatenate([self.table[:new], none, self.table[new:]])
        return dataclasses.replace(self, table=table, features=features)

    def config(self) -> Json:
        """The arguments of a `LinearTable` that holds it, but for its name; JSON values."""
        entries = self._rows().nnz if self.is_sparse else 0
        return {
            "items": self.items,
            "outputs": self.outputs,
            **asdict(self.bag),
            "entries": entries,
            "weight": self.weight,
            "user_values": self.user_values,
            "features": [list(feature) for feature in self.features],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights of a `LinearTable` by name."""
        if not self.is_sparse:
            return {"table": np.asarray(self.table, "float32"), "bias": self.bias}
        rows = self._rows()
        places = {"columns": rows.indices.astype("int32"), "starts": rows.indptr.astype("int32")}
        return {"table": rows.data.astype("float32"), **places, "bias": self.bias}

    def _rows(self):
        """A sparse table in compressed rows, with one entry at least."""
        if self.table.nnz:
            return self.table.tocsr()
        return scipy.sparse.csr_matrix(([0.0], ([0], [0])), self.table.shape, dtype="float32")

    @classmethod
    def of_layer(cls, layer: Any) -> "LinearPart":
        """What a `LinearTable` holds."""
        table = np.asarray(layer.table)
        if layer.entries:
            rows = table, np.asarray(layer.columns), np.asarray(layer.starts)
            table = scipy.sparse.csr_matrix(rows, (layer.rows, layer.outputs))
        how = {"weight": layer.weight, "user_values": layer.user_values}
        how["features"] = layer.features
        return cls(layer.bag, table, np.asarray(layer.bias), **how)

    @property
    def is_sparse(self) -> bool:
        """Whether the table is a sparse matrix."""
        return scipy.sparse.issparse(self.table)


@dataclass
class LinearScores:
    """Scores of histories, computed when they are asked for: all at once may not fit in memory.

    Args:
        bags: sparse matrix `[E, I]`.
        table, bias: see `LinearPart`.
        weight: float. The scores are multiplied with it. Defaults to `1.0`.
    """

    bags: Any
    table: Any
    bias: np.ndarray
    weight: float = 1.0

    def __call__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Scores of some histories, float32 `[len(rows), Y]`."""
        scores = self.bags[rows] @ self.table
        scores = scores.toarray() if scipy.sparse.issparse(scores) else np.asarray(scores)
        return np.float32(self.weight) * (scores + self.bias)

    def all(self) -> np.ndarray:
        """Scores of all histories, float32 `[E, Y]`."""
        return self(slice(None))

    def moved(self, weight: float, towards: np.ndarray | float = 0.0) -> "LinearScores":
        """The same with the scores s moved: `weight · (s - towards)`; see `LinearPart.moved`."""
        bias = self.bias - towards / self.weight
        return dataclasses.replace(self, weight=self.weight * weight, bias=bias)


class Rows(NamedTuple):
    """What a linear part to items is fitted to: histories, and the items that each should find.

    Args:
        items: int array of source ids, as `Events.items`.
        starts, stops: int arrays `[E]`; the history of row e is `items[starts[e]:stops[e]]`.
        offsets: int array `[E + 1]`.
        targets: int array, in `[0, Y)`; those of row e are `targets[offsets[e]:offsets[e + 1]]`.
        told: int array `[E, G]`, what columns say of the users, or `None`. Defaults to `None`.
        user_values: int. How many values these columns have. Defaults to `0`.
        counted: sparse matrix or `None`; see `Bag.matrix`. Defaults to `None`.
    """

    items: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray
    told: np.ndarray | None = None
    user_values: int = 0
    counted: Any = None

    def first(self, count: int) -> "Rows":
        """About `count` of the first rows, all of a user or none; `starts` should rise."""
        if len(self.starts) <= count:
            return self
        end = int(np.searchsorted(self.starts, self.starts[count]))
        return self._replace(
            starts=self.starts[:end],
            stops=self.stops[:end],
            offsets=self.offsets[: end + 1],
            targets=self.targets[: self.offsets[end]],
            told=None if self.told is None else self.told[:end],
        )

    def shares(self, outputs: int) -> np.ndarray:
        """Which share of all targets each of the Y outputs is, float64 `[Y]`."""
        return shares_of(np.bincount(self.targets, minlength=outputs))


def shares_of(counts: np.ndarray) -> np.ndarray:
    """Which share of their sum each count is, float64; 0 where nothing was counted."""
    return counts / max(1, np.sum(counts))


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
