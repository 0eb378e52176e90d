"""Baselines that a model has to beat: popularity, the majority class, ridge regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.metrics.checked_arrays import csr_lists, float_table, integer_array

# Size of a dense block of a sparse matrix: 64 MB of float32.
_BLOCK_VALUES = 2**24


def popularity_table(item_counts: ArrayLike) -> np.ndarray:
    """Returns an item table whose scores are the items' training counts.

    With `queries = ones([N, 1])` the score of every user is `s(i) = count(i)`, so
    `full_ranks` ranks by popularity exactly as it ranks a model.

    Args:
        item_counts: int array `[V]`, how often each item was clicked in training.

    Returns:
        float32 array `[V, 1]`. Counts are exact up to 2^24.

    Raises:
        InputError: if the counts are not non-negative integers.

    Example:

    >>> popularity_table([5, 0, 2]).tolist()
    [[5.0], [0.0], [2.0]]

    Source: Cremonesi, Koren and Turrin, "Performance of Recommender Algorithms
    on Top-N Recommendation Tasks", RecSys 2010 (TopPop).
    """
    counts = integer_array("item_counts", item_counts, 0, 2**63 - 1)
    return counts.astype(np.float32)[:, None]


def majority_probabilities(train_labels: ArrayLike, classes: int, rows: int) -> np.ndarray:
    """Gives every row the shares of the classes in training, as probabilities.

    `p(c) = #{train labels = c} / #{train labels}`. The accuracy is the share of
    the majority class, and the log-loss is the least that a constant can have on the
    training labels (their entropy).

    Args:
        train_labels: int array `[N]` in `[0, classes)`, at least one.
        classes: int, at least 2. The number of classes.
        rows: int. The number of rows to predict.

    Returns:
        float64 array `[rows, classes]`.

    Raises:
        InputError: if an argument is not as above.

    Example:

    >>> majority_probabilities([0, 0, 1, 0], classes=2, rows=1).tolist()
    [[0.75, 0.25]]

    Source: Hastie, Tibshirani and Friedman, "The Elements of Statistical
    Learning", section 7.2 (deviance of a constant).
    """
    check_count("classes", classes, least=2)
    check_count("rows", rows, least=0)
    labels = integer_array("train_labels", train_labels, 0, classes)
    if len(labels) == 0:
        raise InputError("`train_labels` should hold at least one label. Received: none.")
    shares = np.bincount(labels, minlength=classes) / len(labels)
    return np.tile(shares, (rows, 1))


class RidgeRanker:
    """Linear baseline: from the bag of source items to the targets.

    X `[N, S + 1]` is the binary matrix of source items. Its last column, the intercept,
    is one for every user and learns how popular the targets are. Y `[N, V]` are the
    targets: items as a binary matrix (`fit`), or any numbers (`fit_matrix`). Then

        W = argmin |X W - Y|^2 + l2 |W|^2
          = (X'X + l2 I)^-1 X'Y  =  X' (XX' + l2 I)^-1 Y

    and the form with the smaller system is solved. The scores of a bag x are
    `queries(x) . item_table'`, with C columns. In the first form, C = S + 1, `queries`
    gives the bag and `item_table` is W'. In the second, C = N, `queries` gives x X' and
    `item_table` is the rest. Time is O(min(N, S)^3), memory O(min(N, S) * (N + V)).

    Args:
        l2: float, positive. The penalty. Defaults to `100.0`.

    Attributes:
        item_table: float32 array `[V, C]`, or `None` before fitting.

    Raises:
        InputError: if `l2` is not a positive number.

    Example:

    >>> ranker = RidgeRanker(l2=1.0).fit([0, 1, 2], [0, 1], 2, [0, 1, 2], [1, 0], 2)
    >>> scores = ranker.queries([0, 1], [0]) @ ranker.item_table.T
    >>> int(scores.argmax())
    1

    Source: Hoerl and Kennard, "Ridge Regression", Technometrics 1970; as a
    strong linear recommender: Steck, "Embarrassingly Shallow Autoencoders for
    Sparse Data", WWW 2019.
    """

    def __init__(self, l2: float = 100.0) -> None:
        is_number = isinstance(l2, (int, float, np.number)) and not isinstance(l2, bool)
        if not is_number or not 0 < l2 < np.inf:
            raise InputError(f"`l2` should be a positive number. Received: `l2` = {l2!r}.")
        self.l2 = float(l2)
        self.item_table: np.ndarray | None = None

    def fit(
        self,
        source_offsets: ArrayLike,
        source_items: ArrayLike,
        source_size: int,
        target_offsets: ArrayLike,
        target_items: ArrayLike,
        target_size: int,
    ) -> RidgeRanker:
        """Fits the training users' target items and returns `self`.

        Args:
            source_offsets: int array `[N + 1]`, CSR offsets of the source bags.
            source_items: int array, each in `[-1, source_size)`; -1 is left out.
            source_size: int, S.
            target_offsets: int array `[N + 1]`, CSR offsets of the target items.
            target_items: int array, each in `[-1, target_size)`.
            target_size: int, V.

        Raises:
            InputError: if a list, an id or a size is not as above.
        """
        check_count("target_size", target_size)
        bags = self._training_bags(source_offsets, source_items, source_size)
        names = ("target_offsets", "target_items")
        lists = csr_lists(names, target_offsets, target_items, bags.shape[0], target_size)
        targets = _Entries.from_csr(*lists, target_size)
        if self._train_bags is None:
            self.item_table = self._solved(bags, bags.transposed().times(targets.transposed()))
        else:
            self.item_table = self._solved(bags, targets.dense())
        return self

    def fit_matrix(
        self,
        source_offsets: ArrayLike,
        source_items: ArrayLike,
        source_size: int,
        targets: ArrayLike,
    ) -> RidgeRanker:
        """Fits a matrix of targets, such as a number or several labels of each user.

        The intercept is penalised like every weight, so numbers whose mean is far from
        0 should be standardised first.

        Args:
            source_offsets, source_items, source_size: see `fit`.
            targets: float array `[N, V]`, the Y of the class.

        Returns:
            `self`; scores have the V columns of `targets`.

        Raises:
            InputError: if a list, an id or `targets` is not as above.
        """
        bags = self._training_bags(source_offsets, source_items, source_size)
        targets = float_table("targets", targets)
        if len(targets) != bags.shape[0] or not np.isfinite(targets).all():
            raise InputError(
                f"`targets` should have {bags.shape[0]} rows of finite numbers, one for each "
                f"bag. Received: shape {targets.shape}, {np.sum(~np.isfinite(targets))} not finite."
            )
        right = bags.transposed_times(targets) if self._train_bags is None else targets
        self.item_table = self._solved(bags, right)
        return self

    def queries(self, source_offsets: ArrayLike, source_items: ArrayLike) -> np.ndarray:
        """Returns the query of each bag, float32 `[N, C]`: scores are `queries . item_table'`.

        Args:
            source_offsets: int array `[N + 1]`, CSR offsets of the bags.
            source_items: int array, each in `[-1, S)`.

        Raises:
            InputError: if the lists are not as above, or nothing has been fitted.
        """
        if self.item_table is None:
            raise InputError("`RidgeRanker` should be fitted before `queries` is called.")
        bags = self._bags(source_offsets, source_items)
        return bags.dense() if self._train_bags is None else bags.times(self._train_bags)

    def _training_bags(self, offsets, items, size):
        """Returns the bags to fit, and keeps them if the second form has the smaller system."""
        check_count("source_size", size)
        self._source_size = size
        bags = self._bags(offsets, items)
        if bags.shape[0] == 0:
            raise InputError("`source_offsets` should hold at least one user. Received: none.")
        self._train_bags = bags if bags.shape[0] < bags.shape[1] else None
        return bags

    def _bags(self, offsets, items):
        names = ("source_offsets", "source_items")
        offsets, items = csr_lists(names, offsets, items, None, self._source_size)
        return _Entries.from_csr(offsets, items, self._source_size).with_ones_column()

    def _solved(self, bags, right):
        """Returns the item table, given the right side of the smaller system."""
        rows = bags.transposed() if self._train_bags is None else bags
        gram = rows.times(rows).astype(np.float64)
        gram[np.diag_indices_from(gram)] += self.l2
        solution = np.linalg.solve(gram, right)
        return np.ascontiguousarray(solution.T, np.float32)


class _Entries:
    """A sparse binary matrix, as the places of its ones; a place that repeats is still one."""

    def __init__(self, rows, columns, shape):
        # Sorted by column, so that a block of columns is one slice.
        order = np.argsort(columns, kind="stable")
        self.rows, self.columns, self.shape = rows[order], columns[order], shape

    @classmethod
    def from_csr(cls, offsets, items, size):
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        kept = items >= 0
        return cls(rows[kept], items[kept], (len(offsets) - 1, size))

    def with_ones_column(self):
        users, size = self.shape
        rows = np.concatenate([self.rows, np.arange(users)])
        columns = np.concatenate([self.columns, np.full(users, size)])
        return _Entries(rows, columns, (users, size + 1))

    def transposed(self):
        return _Entries(self.columns, self.rows, self.shape[::-1])

    def dense(self, start=0, stop=None):
        """Returns columns `start` to `stop` as a float32 matrix."""
        stop = self.shape[1] if stop is None else stop
        first, last = np.searchsorted(self.columns, [start, stop])
        block = np.zeros((self.shape[0], stop - start), np.float32)
        block[self.rows[first:last], self.columns[first:last] - start] = 1
        return block

    def times(self, other):
        """Returns `self . other'` in float32, summed over blocks of the shared columns."""
        product = np.zeros((self.shape[0], other.shape[0]), np.float32)
        width = max(1, _BLOCK_VALUES // max(self.shape[0], other.shape[0], 1))
        for start in range(0, self.shape[1], width):
            stop = min(start + width, self.shape[1])
            product += self.dense(start, stop) @ other.dense(start, stop).T
        return product

    def transposed_times(self, matrix):
        """Returns `self' . matrix` in float32, summed over blocks of rows."""
        entries = self.transposed()
        product = np.zeros((entries.shape[0], matrix.shape[1]), np.float32)
        width = max(1, _BLOCK_VALUES // max(entries.shape[0], 1))
        for start in range(0, entries.shape[1], width):
            stop = min(start + width, entries.shape[1])
            product += entries.dense(start, stop) @ matrix[start:stop]
        return product
