"""The linear part: what the items of a history say of the answer, each for itself."""

import dataclasses
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from keras_peterrec.errors import refuse
from keras_peterrec.linear.bag import Bag, before_items
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.log.vocabulary import event_items
from keras_peterrec.types import Json


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
