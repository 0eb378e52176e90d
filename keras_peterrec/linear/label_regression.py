"""Fits the linear part of a profile: regularised regression from bags of items to labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse

from keras_peterrec.integers import distinct
from keras_peterrec.linear.bag import Bag, before_items
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.matrix_threads import one_thread

MOST_DENSE = 2**22  # numbers of a table, most of which may be 0; 16 MB
# Of sums and of bags divided by the root of their size, from strong to weak.
LABEL_PENALTIES = {
    0.0: (3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1),
    0.5: (30.0, 10.0, 3.0, 1.0, 0.3, 0.1),
}


class LabelRegression:
    """Regression from the bags of users to their labels, whatever its loss.

        W, b = argmin Σ_u loss(x_u W + b, y_u) + penalty / 2 |W|²

    It is logistic regression for classes or labels, and ridge regression for a number.

    Args:
        items: int array of source ids, as `Events.items`.
        starts, stops: int arrays `[E]`, the histories.
        size: int. Items I of the source vocabulary, without special ids.
        start: float array `[n]`. The b to begin with: the best constant answer.
        loss: Callable. From outputs `[E, n]` to the rows' losses `[E]` and their gradient.
        told: int array `[E, G]`, what columns say of the users, or `None`. Defaults to `None`.
        user_values: int. How many values these columns have. Defaults to `0`.
        features: EventFeatures that events count beside their items. Defaults to `EventFeatures()`,
            none.
        counted: see `Bag.matrix`. Needed with features.

    Source: minimised by L-BFGS, Liu and Nocedal 1989, as in scikit-learn.
    """

    def __init__(
        self,
        bag: Bag,
        items: np.ndarray,
        starts: np.ndarray,
        stops: np.ndarray,
        size: int,
        start: np.ndarray,
        loss: Callable,
        told: np.ndarray | None = None,
        user_values: int = 0,
        features: EventFeatures = EventFeatures(),
        counted: Any = None,
    ) -> None:
        self.bag, self.loss = bag, loss
        self.user_values, self.features = user_values, features
        bags = bag.matrix(items, starts, stops, size + features.rows, counted)
        self.bags = before_items(told, user_values, bags)
        size += features.rows
        # An item that no training user has keeps the weight 0.
        self.used = distinct(self.bags.indices)
        self.bags = self.bags[:, self.used].astype("float64")
        self.transposed = self.bags.T.tocsr()
        self.size = user_values + size
        # The next penalty starts from the last solution.
        self.weights = np.concatenate([np.zeros((len(self.used), len(start))), [start]])

    def solve(self, penalty: float) -> LinearPart:
        """The linear part for one penalty."""
        shape = self.weights.shape

        def objective(flat):
            weights = flat.reshape(shape)
            losses, gradient = self.loss(self.bags @ weights[:-1] + weights[-1])
            of_weights = self.transposed @ gradient + penalty * weights[:-1]
            value = losses.sum() + penalty / 2 * np.sum(weights[:-1] ** 2)
            return value, np.concatenate([of_weights, [gradient.sum(axis=0)]]).reshape(-1)

        options = {"maxiter": 300}
        minimum = scipy.optimize.minimize(
            objective, self.weights.reshape(-1), jac=True, method="L-BFGS-B", options=options
        )
        self.weights = minimum.x.reshape(shape)
        table = self._table(self.weights[:-1].astype("float32"))
        bias, settings = self.weights[-1].astype("float32"), {"penalty": penalty}
        settings = {"power": self.bag.power, **settings}
        read = self.user_values, self.features
        return LinearPart(self.bag, table, bias, settings, 1.0, *read)

    def _table(self, weights):
        """The weights of all items: a sparse matrix where most of very many have none."""
        count, outputs = weights.shape
        values, entries = self.size * outputs, count * outputs
        if values > MOST_DENSE and 2 * (2 * entries + self.size) < values:
            rows = np.repeat(self.used, outputs), np.tile(np.arange(outputs), count)
            return scipy.sparse.csr_matrix((weights.reshape(-1), rows), (self.size, outputs))
        table = np.zeros((self.size, outputs), "float32")
        table[self.used] = weights
        return table


def best_label_regression(*makes: Callable) -> LinearPart:
    """The linear part to labels that is best for users that it was not fitted to.

    Of the best bag it takes the strongest penalty that is no worse than the best one by more than
    the standard error of the difference: a few users cannot tell the two apart, and a weak penalty
    that is best by chance overfits. In the same way a regression that reads more of events is taken
    only where it is clearly better.

    Args:
        *makes: Callable. From a Bag to a list of pairs of a LabelRegression and a Callable, from a
            LinearPart to its losses `[R]` for users that this regression does not read. The first
            regression is the one that is wanted. Those that read more come later.

    Source: the rule of one standard error, Hastie, Tibshirani and Friedman, "The Elements of
    Statistical Learning", section 7.10; here of paired differences.
    """
    with one_thread():  # the matrices are thin
        of_makes = [
            min((_tried(make, power) for power in LABEL_PENALTIES), key=_least) for make in makes
        ]
    best = of_makes[0]
    for tried in of_makes[1:]:
        if _clearly_worse(_losses(best), _losses(tried)):
            best = tried
    return _strongest(best)


def _tried(make, power):
    """Pairs of losses and a linear part, penalties falling."""
    pairs, tried = make(Bag(power=power)), []
    for penalty in LABEL_PENALTIES[power]:
        parts = [regression.solve(penalty) for regression, _ in pairs]
        losses = np.concatenate([loss(part) for part, (_, loss) in zip(parts, pairs)])
        tried.append((losses, parts[0]))
        if len(tried) > 1 and losses.mean() > tried[-2][0].mean():
            break  # weaker penalties overfit more
    return tried


def _strongest(tried):
    """The first linear part, penalties falling, that the best one does not clearly beat."""
    return next(part for losses, part in tried if not _clearly_worse(losses, _losses(tried)))


def _losses(tried):
    """Those of the best one."""
    return min((losses for losses, _ in tried), key=np.mean)


def _least(tried):
    return _losses(tried).mean()


def _clearly_worse(losses, best):
    """Whether losses are above the best ones by more than the difference's standard error."""
    worse = losses - best
    return worse.mean() > worse.std() / np.sqrt(len(worse))
