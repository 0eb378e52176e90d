"""Ridge regression from bags of items to items: the fit of a linear part."""

import contextlib
from typing import Any

import numpy as np
import scipy.linalg

from keras_peterrec.integers import distinct
from keras_peterrec.linear.bag import Bag, known_rows, only_known
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.linear_part import LinearPart, Rows
from keras_peterrec.linear.sparse_regression import SparseRegression
from keras_peterrec.log.vocabulary import count_items
from keras_peterrec.matrix_threads import one_thread

# Up to so many source items and targets, the regression is exact: two matrices of 256 MB.
EXACT_UP_TO = 8_192
CUTS = 256  # rows of one product
THREADS_FROM = 4_096  # rows of a matrix that is solved by all processors


class ItemRegression:
    """Ridge regression from the bags of histories to the items that follow.

        B = argmin Σ_e |x_e B - y_e|² + penalty |B|² = (X'X + penalty)⁻¹ X'Y

    Many rows are cuts of one history, and their bags overlap. X'X is summed from the products of
    one user's rows, over the items of that user alone, so that it costs little more than counting
    pairs of items.

    Args:
        rows: Rows. What columns say of users is read as items of their histories are.
        size: int. Items I of the source vocabulary, without special ids.
        outputs: int. Y.
        features: EventFeatures that the rows count beside the items; X and the table then have
            their columns before those of the items. Defaults to `EventFeatures()`, none.

    Source: Choi et al., "Session-aware Linear Item-Item Models for Session-based
    Recommendation", WWW 2021 (SLIT), whose bag fades exponentially; Steck, "Embarrassingly
    Shallow Autoencoders for Sparse Data", WWW 2019.
    """

    exact = True

    def __init__(
        self,
        bag: Bag,
        rows: Rows,
        size: int,
        outputs: int,
        features: EventFeatures = EventFeatures(),
    ) -> None:
        self.bag, self.user_values, self.features = bag, rows.user_values, features
        size += rows.user_values + features.rows
        self.gram = np.zeros((size, size), "float32")
        self.right = np.zeros((size, outputs), "float32")
        with one_thread():
            self._add_users(rows)

    def solve(self, penalty: float, prior: np.ndarray | None = None) -> LinearPart:
        """The linear part for one penalty.

        Args:
            prior: float array `[I, Y]` or `None`. An earlier table P, of the same bag, that the
                solution is held to, so that what it knows and these rows do not say is kept:

                    B = argmin Σ_e |x_e B - y_e|² + penalty |B - cP|²

                c is what fits P best to these rows. Defaults to `None`, which holds it to zero.
        """
        large = len(self.gram) >= THREADS_FROM
        with contextlib.nullcontext() if large else one_thread():
            table = self._solve_all(penalty, prior)
        bias = np.zeros(table.shape[1], "float32")
        settings = {"fade": self.bag.fade, "penalty": penalty}
        if self.features:
            settings["fields"] = True
        if prior is not None:
            settings["goes_on"] = True
        read = self.user_values, self.features
        return LinearPart(self.bag, table, bias, settings, 1.0, *read)

    def _add_users(self, rows):
        """Adds up X'X and X'Y, one product for some cuts of a user."""
        items, first, last = only_known(rows.items, rows.starts, rows.stops)
        counted = known_rows(rows.items, rows.counted) if self.features else None
        order = np.lexsort((last, rows.starts))
        changes = np.flatnonzero(np.diff(rows.starts[order])) + 1
        for cuts in np.split(order, changes):
            for n in range(0, len(cuts), CUTS):
                some = cuts[n : n + CUTS]
                start, ends = first[some[0]], last[some]
                start = max(start, ends[0] - self.bag.events)
                history = items[start : ends[-1]].astype("int64") + self.user_values
                ages = ends[:, None] - 1 - np.arange(start, ends[-1])
                bags = self.bag.rows(ages)
                if counted is not None and len(history):  # what the user's events count, once
                    of_user = counted[start : ends[-1]]
                    history = distinct(of_user.indices).astype("int64")
                    bags = bags @ of_user[:, history]
                    history += self.user_values
                if self.user_values:
                    values = np.unique(rows.told[some])
                    values = values[values > 0].astype("int64")
                    are_told = (rows.told[some][:, :, None] == values).any(axis=1)
                    history = np.concatenate([values - 1, history])
                    bags = np.concatenate([are_told.astype("float32"), bags], axis=1)
                if len(history):
                    self._add(history, bags, rows, some)

    def _add(self, history, bags, rows, cuts):
        # `np.add.at` also counts an item that occurs twice twice.
        places = history[:, None] * len(self.gram) + history
        np.add.at(self.gram.reshape(-1), places.reshape(-1), (bags.T @ bags).reshape(-1))
        begins, ends = rows.offsets[cuts], rows.offsets[cuts + 1]
        targets = np.concatenate([rows.targets[a:b] for a, b in zip(begins, ends)])
        of_targets = np.repeat(bags, ends - begins, axis=0)
        places = history * self.right.shape[1] + targets.astype("int64")[:, None]
        np.add.at(self.right.reshape(-1), places.reshape(-1), of_targets.reshape(-1))

    def _solve_all(self, penalty, prior):
        gram, right = self.gram.copy(), self.right
        if prior is not None:
            said = self.gram @ prior
            scale = np.sum(prior * right) / max(float(np.sum(prior * said)), 1e-12)
            prior, right = scale * prior, right - scale * said
        gram[np.diag_indices_from(gram)] += penalty
        try:
            factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:  # float32 is too coarse where the penalty is tiny
            gram = self.gram.astype("float64")
            gram[np.diag_indices_from(gram)] += penalty
            factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        table = scipy.linalg.cho_solve(factor, right, check_finite=False)
        return np.ascontiguousarray(table if prior is None else table + prior, "float32")


def item_regression(
    bag: Bag,
    rows: Rows,
    size: int,
    outputs: int,
    features: EventFeatures = EventFeatures(),
) -> Any:
    """An ItemRegression or, for more than `EXACT_UP_TO` items or targets, a SparseRegression.

    Args:
        bag, rows, size, outputs: see `ItemRegression`.
        features: see `ItemRegression`. A sparse regression reads no features.
    """
    if max(rows.user_values + size, outputs) <= EXACT_UP_TO:
        return ItemRegression(bag, rows, size, outputs, features)
    counts = np.bincount(rows.targets, minlength=outputs)
    seen = count_items(rows.items, size)
    values = rows.user_values
    regression = SparseRegression(bag, size, outputs, seen, counts, user_values=values)
    regression.add(rows)
    return regression
