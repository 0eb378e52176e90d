"""Ridge regression from bags of items to items, where a table of all pairs would not fit."""

from typing import Any

import numpy as np
import scipy.sparse

from keras_peterrec import progress
from keras_peterrec.integers import counted_up
from keras_peterrec.linear.bag import Bag, before_items, only_known
from keras_peterrec.linear.linear_part import LinearPart, Rows
from keras_peterrec.matrix_threads import one_thread

# The most frequent items and targets: others are too rare for a regression to say much of them.
MOST_ITEMS = 100_000
# Each target is regressed on the items that explain most of it alone; on fewer of them where
# targets are many.
CANDIDATES, FEWER_CANDIDATES, MANY_TARGETS = 128, 48, 20_000
EVENTS = 50  # each event of a bag pairs with each other, so a sparse X'X needs short bags
MOST_PAIRS = 15_000_000  # that X'X and X'Y hold; the smallest are left out
ADDED_PAIRS = 6_000_000  # that are added at once
DENSE = 2_048  # items with the most pairs, whose sums are looked up in a dense matrix
ROWS = 8_192  # whose bags are multiplied at once


class SparseRegression:
    """`ItemRegression` in bounded memory, whatever the number of items, rows and targets.

    Rows may be added a part at a time. X'X and X'Y are sparse, between the most frequent items and
    targets.

    Args:
        size: int. Items I of the source vocabulary, without special ids.
        outputs: int. Y.
        item_counts: int array `[I]`. How frequent each item is.
        target_counts: int array `[Y]` or `None`. Likewise; `None` where target y is item y itself,
            and rows ask for the next item of a log. Defaults to `None`.
        most: int or `None`. How many items and targets take part. Defaults to `None`, `MOST_ITEMS`.
        candidates: int or `None`. On how many items a target is regressed at most. Defaults to
            `None`: `CANDIDATES`, or fewer where items or targets are many.
        user_values: int. How many values columns of users have; they take part as items do.
            Defaults to `0`.

    Source: the selection of candidates is that of Ning and Karypis, "SLIM", ICDM 2011, section 3.3
    (fsSLIM).
    """

    exact = False

    def __init__(
        self,
        bag: Bag,
        size: int,
        outputs: int,
        item_counts: Any,
        target_counts: Any = None,
        most: int | None = None,
        candidates: int | None = None,
        user_values: int = 0,
    ) -> None:
        most = MOST_ITEMS if most is None else most
        self.next_items, self.user_values = target_counts is None, user_values
        if user_values:
            item_counts = np.append(np.full(user_values, np.iinfo("int64").max), item_counts)
            size += user_values
        self.bag = Bag(bag.fade, bag.power, min(bag.events, EVENTS))
        self._items = _Chosen(item_counts, size, most)
        self._targets = self._items if self.next_items else _Chosen(target_counts, outputs, most)
        # X'X is symmetric: only its upper half is kept.
        self.half_gram = Pairs(len(self._items.all), len(self._items.all))
        self.right = Pairs(len(self._items.all), len(self._targets.all))
        self._shape = size, outputs
        few = max(size, outputs) > MANY_TARGETS
        self._candidates = candidates or (FEWER_CANDIDATES if few else CANDIDATES)
        self._systems: Any = None

    @property
    def items(self) -> int:
        """How many items take part."""
        return len(self._items.all)

    def add(self, rows: Rows) -> None:
        """Adds rows. Of a user with rows of next items, all should be added at once."""
        self._systems = None
        items, first, last = only_known(rows.items, rows.starts, rows.stops)
        if self.next_items and not self.bag.power:
            self._add_sequences(self._items.places[items], first, last)
        else:
            self._add_rows(items, first, last, rows)

    def _add_sequences(self, items, first, last):
        """Adds a row for every event of users but their first.

        Two events d apart are in the bags of all later rows: in that t rows on, they count w(t) and
        w(t + d). So a pair's sum depends on d and on how many rows come after it.
        """
        begins, rows = np.unique(first, return_inverse=True)
        ends = np.zeros(len(begins), "int64")
        np.maximum.at(ends, rows, last + 1)  # the last row asks for one event more
        weights = self.bag.weights().astype("float64")
        lengths = ends - begins
        place = counted_up(lengths)
        left = np.repeat(lengths, lengths) - 1 - place  # rows after an event
        flat = items[np.repeat(begins, lengths) + place]
        for apart in range(self.bag.events + 1):
            earlier = np.flatnonzero(left >= max(apart, 1))
            if not len(earlier):
                break
            later = earlier + apart
            if apart:
                values = np.full(len(earlier), weights[apart - 1], "float32")
                self.right.add(flat[earlier], flat[later], values)
            if apart == self.bag.events:
                break
            together = np.cumsum(weights[: self.bag.events - apart] * weights[apart:])
            together = np.append(0.0, together).astype("float32")
            both = left[later] > 0  # the last event is in no bag
            pair = np.sort([flat[earlier[both]], flat[later[both]]], axis=0)
            values = together[np.minimum(left[later[both]], len(together) - 1)]
            if apart:
                values = np.where(pair[0] == pair[1], 2 * values, values)
            self.half_gram.add(*pair, values)

    def _add_rows(self, items, first, last, rows):
        size, outputs = self._shape
        offsets, targets = rows.offsets, rows.targets
        every_item = self._items.all
        for n in range(0, len(first), ROWS):
            some = slice(n, n + ROWS)
            bags = self.bag.of_known(items, first[some], last[some], size - self.user_values)
            told = None if rows.told is None else rows.told[some]
            bags = before_items(told, self.user_values, bags)[:, every_item]
            at = offsets[n : n + bags.shape[0] + 1]
            asked = targets[at[0] : at[-1]]
            cells = np.ones(len(asked), "float32"), asked, at - at[0]
            wanted = scipy.sparse.csr_matrix(cells, (bags.shape[0], outputs))
            self.half_gram.add_matrix(scipy.sparse.triu(bags.T @ bags))
            self.right.add_matrix(bags.T @ wanted[:, self._targets.all])

    def solve(self, penalty: float, prior: np.ndarray | None = None) -> LinearPart:
        """The linear part for one penalty; a `prior` is not taken. See `ItemRegression.solve`."""
        with one_thread():  # the systems are small
            return self._solve(penalty)

    def _solvable(self):
        """The systems and X'Y by columns, made once for all penalties."""
        if self._systems is None:
            self._systems = _Systems(self.half_gram.matrix()), self.right.matrix().tocsc()
        return self._systems

    def _solve(self, penalty):
        systems, right = self._solvable()
        columns, rows, values = [], [], []
        most = self._candidates
        for target in progress.each(range(right.shape[1]), "solving for each item"):
            some = slice(right.indptr[target], right.indptr[target + 1])
            beside, sums = right.indices[some], right.data[some]
            if not len(beside):
                continue
            if len(beside) > most:
                explained = sums**2 / (systems.diagonal[beside] + penalty)
                best = np.argpartition(-explained, most)[:most]
                beside, sums = beside[best], sums[best]
            if self.next_items and target not in beside:
                # That an item seldom follows itself is the largest weight that it has.
                beside, sums = np.append(beside, target), np.append(sums, np.float32(0.0))
            system = systems.of(beside)
            system[np.diag_indices_from(system)] += penalty
            values.append(np.linalg.solve(system, sums))
            rows.append(beside)
            columns.append(np.full(len(beside), target))
        table = scipy.sparse.csr_matrix(self._shape, dtype="float32")
        if rows:
            rows = self._items.all[np.concatenate(rows)]
            columns = self._targets.all[np.concatenate(columns)]
            data = np.concatenate(values).astype("float32")
            table = scipy.sparse.csr_matrix((data, (rows, columns)), self._shape)
        settings = {"fade": self.bag.fade, "penalty": penalty}
        bias = np.zeros(self._shape[1], "float32")
        return LinearPart(self.bag, table, bias, settings, user_values=self.user_values)


class _Systems:
    """Rows and columns of a sparse symmetric matrix, as dense ones.

    The rows of frequent items are long: what they have in common stands in a dense matrix, and
    only the rows of the others are read.

    Args:
        half: sparse matrix `[I, I]`: its diagonal, and each pair once.
    """

    def __init__(self, half: Any) -> None:
        self.diagonal = half.diagonal()
        gram = (half + half.T).tocsr()
        gram.setdiag(self.diagonal)
        self.gram = gram
        longest = np.sort(np.argsort(-np.diff(gram.indptr), kind="stable")[:DENSE])
        self.dense = gram[longest][:, longest].toarray()
        self.of_dense = np.full(gram.shape[0], -1)
        self.of_dense[longest] = np.arange(len(longest))
        self.place = np.full(gram.shape[0], -1)  # of an item among those asked for

    def of(self, found: Any) -> np.ndarray:
        """The rows and columns of some items, float32."""
        dense = self.of_dense[found]
        frequent, others = np.flatnonzero(dense >= 0), np.flatnonzero(dense < 0)
        system = np.zeros((len(found), len(found)), "float32")
        system[np.ix_(frequent, frequent)] = self.dense[np.ix_(dense[frequent], dense[frequent])]
        if not len(others):
            return system
        gram, asked = self.gram, found[others]
        self.place[found] = np.arange(len(found))
        counts = gram.indptr[asked + 1] - gram.indptr[asked]
        begins = gram.indptr[asked] - (np.cumsum(counts) - counts)
        at = np.arange(counts.sum()) + np.repeat(begins, counts)
        columns = self.place[gram.indices[at]]
        inside = columns >= 0
        rows, columns = np.repeat(others, counts)[inside], columns[inside]
        system[rows, columns] = system[columns, rows] = gram.data[at[inside]]
        self.place[found] = -1
        return system


class _Chosen:
    """The most frequent of some items, rising, and each item's place among them or -1."""

    def __init__(self, counts: np.ndarray, size, most) -> None:
        counts = np.asarray(counts)
        self.all = np.arange(size)
        if size > most:
            self.all = np.sort(np.argsort(-counts, kind="stable")[:most])
        self.places = np.full(size, -1, "int32")
        self.places[self.all] = np.arange(len(self.all))


class Pairs:
    """A sparse matrix that is summed up from pairs, and keeps the `MOST_PAIRS` largest sums.

    Args:
        rows, columns: int. Its shape.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._total = scipy.sparse.csr_matrix((rows, columns), dtype="float32")
        self._waiting, self._count = [], 0

    def add(self, rows: np.ndarray, columns: np.ndarray, values: Any) -> None:
        """Adds values to entries of the matrix; those of a row or column below 0 are left out."""
        kept = (rows >= 0) & (columns >= 0)
        self._waiting.append((rows[kept], columns[kept], values[kept]))
        self._count += len(self._waiting[-1][0])
        if self._count >= ADDED_PAIRS:
            self._sum()

    def add_matrix(self, matrix: Any) -> None:
        """Adds a sparse matrix."""
        matrix = matrix.tocoo()
        self.add(matrix.row, matrix.col, matrix.data.astype("float32"))

    def matrix(self) -> scipy.sparse.csr_matrix:
        """The sums until now, float32."""
        self._sum()
        return self._total

    def _sum(self):
        if not self._count:
            return
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._waiting))
        self._waiting, self._count = [], 0
        added = scipy.sparse.coo_matrix((values, (rows, columns)), self._total.shape)
        self._total = self._total + added.tocsr()
        if self._total.nnz > MOST_PAIRS:
            data = self._total.data
            least = np.partition(data, self._total.nnz - MOST_PAIRS)[-MOST_PAIRS]
            # Pairs that occur once have equal sums: of these the first rows', the more frequent.
            equal = np.flatnonzero(data == least)
            data[equal[MOST_PAIRS - np.count_nonzero(data > least) :]] = 0.0
            data[data < least] = 0.0
            self._total.eliminate_zeros()
