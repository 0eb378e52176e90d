"""Fits the linear part of a recommendation: ridge regression from bags of items to items."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from keras_peterrec.integers import distinct
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.linear_part import Bag, LinearPart, Rows, known_rows, only_known
from keras_peterrec.linear.sparse_regression import SparseRegression, same_rows
from keras_peterrec.log.vocabulary import count_items
from keras_peterrec.matrix_threads import one_thread

# Up to so many source items and targets, the regression is exact: two matrices of 256 MB.
EXACT_UP_TO = 8_192
CUTS = 256  # rows of one product
THREADS_FROM = 4_096  # rows of a matrix that is solved by all processors
# What validation chooses from. Both lists are searched uphill, so longer ones cost little.
FADES = (0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 20.0, 80.0, None)
PENALTIES = (1.0, 5.0, 20.0, 100.0, 500.0, 2_500.0, 10_000.0)
FIRST_FADE, FIRST_PENALTY = 6, 3
# What an item is held to say of itself; 0 as of every other.
COPIES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
# Weights of the linear part, as ratios of the two standard deviations: of its scores over the items
# and of the network's.
SHARES = (
    *(0.03, 0.06, 0.1, 0.14, 0.2, 0.3, 0.45, 0.65, 1.0),
    *(1.5, 2.2, 3.3, 5.0, 10.0, 30.0, 100.0),
)
# How many standard errors a weight may be worse than the best one. Measured over random validation
# users of four tasks: .5 was as good as 0, and on 50 to 200 users of Amazon toys 2 % better.
NOISE = 0.5
# At this ratio the network only orders items that the linear part scores equally.
ALONE = 1e4
SPREAD_ROWS = 256
SPREAD_SCORES = 1 << 25  # that are in memory at once


class ItemRegression:
    """Ridge regression from the bags of histories to the items that follow.

        B = argmin Σ_e |x_e B - y_e|² + penalty |B|² = (X'X + penalty)⁻¹ X'Y

    Many rows are cuts of one history, and their bags overlap. X'X is summed from the products of
    one user's rows, over the items of that user alone, so that it costs little more than counting
    pairs of items.

    Args:
        bag: Bag.
        rows: Rows. What columns say of users is read as items of their histories are.
        size: int. Items I of the source vocabulary, without special ids.
        outputs: int. Y.
        same: int array `[I]` or `None`. The target that is the same item, or -1. Defaults to
            `None`: no target is.
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
        same: np.ndarray | None = None,
        features: EventFeatures = EventFeatures(),
    ) -> None:
        self.bag, self.user_values, self.features = bag, rows.user_values, features
        before = rows.user_values + features.rows
        self.same = same_rows(same, size, before)
        size += before
        self.gram = np.zeros((size, size), "float32")
        self.right = np.zeros((size, outputs), "float32")
        with one_thread():
            self._add_users(rows)

    @property
    def repeats(self) -> bool:
        """Whether an item of a history is ever a target of it."""
        return bool(np.any(self.right[self._copied()]))

    def _copied(self):
        """The places of the table where an item meets itself."""
        has = np.flatnonzero(self.same >= 0)
        return has, self.same[has]

    def solve(
        self, penalty: float, prior: np.ndarray | None = None, copy: float = 0.0
    ) -> LinearPart:
        """The linear part for one penalty.

        Args:
            penalty: float.
            prior: float array `[I, Y]` or `None`. An earlier table P, of the same bag, that the
                solution is held to, so that what it knows and these rows do not say is kept:

                    B = argmin Σ_e |x_e B - y_e|² + penalty |B - cP|²

                c is what fits P best to these rows. Defaults to `None`, which holds it to zero.
            copy: float. What the entries where an item meets itself are held to in place of zero:
                where items are often repeated, a rare one is as well, which its own few rows
                cannot say. Without a prior. Defaults to `0.0`.
        """
        large = len(self.gram) >= THREADS_FROM
        with contextlib.nullcontext() if large else one_thread():
            table = self._solve_all(penalty, prior, copy)
        bias = np.zeros(table.shape[1], "float32")
        settings = item_settings(self.bag, penalty, copy, self.features)
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

    def _solve_all(self, penalty, prior, copy):
        gram, right = self.gram.copy(), self.right
        if copy:
            right = right.copy()
            right[self._copied()] += np.float32(penalty * copy)
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
    same: np.ndarray | None = None,
    features: EventFeatures = EventFeatures(),
) -> Any:
    """An ItemRegression or, for more than `EXACT_UP_TO` items or targets, a SparseRegression.

    Args:
        bag, rows, size, outputs: see `ItemRegression`.
        same, features: see `ItemRegression`. A sparse regression reads no features.
    """
    if max(rows.user_values + size, outputs) <= EXACT_UP_TO:
        return ItemRegression(bag, rows, size, outputs, same, features)
    counts = np.bincount(rows.targets, minlength=outputs)
    seen = count_items(rows.items, size)
    values = rows.user_values
    regression = SparseRegression(bag, size, outputs, seen, counts, same=same, user_values=values)
    regression.add(rows)
    return regression


def item_settings(bag: Bag, penalty: float, copy: float, features: EventFeatures) -> dict:
    """What was chosen for a linear part to items, as `metrics.json` has it."""
    more = {"copy": copy} if copy else {}
    if features:
        more["fields"] = True
    return {"fade": bag.fade, "penalty": penalty, **more}


def best_item_regression(
    make: Callable,
    quality: Callable,
    earlier: LinearPart | None = None,
    make_with_fields: Callable | None = None,
) -> LinearPart:
    """The linear part to items whose fade and penalty are best.

    Args:
        make: Callable. From a Bag to an `item_regression`.
        quality: Callable. From a LinearPart to a number for the validation users; higher is better.
        earlier: LinearPart or `None`. One that these rows may go on from, if that is better than to
            begin anew; see `ItemRegression.solve`. Defaults to `None`.
        make_with_fields: Callable or `None`. As `make`, of a regression that reads fields as well.
            It is tried with the best bag, and kept where it is better. Defaults to `None`.
    """
    first = FIRST_PENALTY

    def of_fade(place):
        nonlocal first
        regression = make(Bag(FADES[place]))

        def of_penalty(place):
            return _with_quality(regression.solve(PENALTIES[place]), quality)

        value, first, part = _climb(of_penalty, first, len(PENALTIES))
        return value, (part, regression)

    value, _, (part, regression) = _climb(of_fade, FIRST_FADE, len(FADES))
    best = _with_copies(regression, (value, part), quality)
    if earlier is not None and not earlier.is_sparse:
        regression = make(earlier.bag)
        if regression.exact:
            value, _, part = _climb(
                lambda place: _with_quality(
                    regression.solve(PENALTIES[place], earlier.table), quality
                ),
                FIRST_PENALTY,
                len(PENALTIES),
            )
            best = max(best, (value, part), key=lambda found: found[0])
    if make_with_fields is not None:
        regression = make_with_fields(best[1].bag)
        found = _best_penalty(regression, quality, best[1].chosen["penalty"])
        best = max(best, found, key=lambda found: found[0])
    return best[1]


def best_penalty(regression: Any, quality: Callable, first: float) -> LinearPart:
    """The linear part of an `item_regression` whose penalty is best.

    Args:
        regression: ItemRegression or SparseRegression.
        quality: see `best_item_regression`.
        first: float. The penalty to begin with, one of `PENALTIES`.
    """
    return _best_penalty(regression, quality, first)[1]


def _best_penalty(regression, quality, first):
    def of_penalty(place):
        return _with_quality(regression.solve(PENALTIES[place]), quality)

    value, _, part = _climb(of_penalty, PENALTIES.index(first), len(PENALTIES))
    return _with_copies(regression, (value, part), quality)


def _with_copies(regression, best, quality):
    """The best quality and linear part if an item may say more of itself than its rows do.

    Args:
        best: the quality and the LinearPart that is best without.
    """
    if not regression.repeats:
        return best
    penalty = best[1].chosen["penalty"]

    def of_copy(place):
        if not place:
            return best
        return _with_quality(regression.solve(penalty, copy=COPIES[place]), quality)

    value, _, part = _climb(of_copy, 0, len(COPIES))
    return value, part


def _with_quality(part, quality):
    return quality(part), part


def best_ease(bags: Any, quality: Callable) -> LinearPart:
    """EASE, from the set of a user's items to the others; a baseline.

        B = I - P / diag(P),   P = (X'X + penalty I)⁻¹

    Args:
        bags: sparse matrix `[U, I]`, other than 0 where a user had an item; see `Bag.matrix`.
        quality: see `best_item_regression`; it chooses the penalty.

    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
    """
    size = bags.shape[1]
    had = (bags != 0).astype("float32")
    gram = (had.T @ had).toarray()

    def of_penalty(place):
        inverse = np.linalg.inv(gram + np.float32(PENALTIES[place]) * np.eye(size, dtype="float32"))
        table = inverse / -np.diag(inverse)
        np.fill_diagonal(table, 0.0)
        bias, settings = np.zeros(size, "float32"), {"penalty": PENALTIES[place]}
        part = LinearPart(Bag(), table.astype("float32"), bias, settings)
        return quality(part), part

    return _climb(of_penalty, FIRST_PENALTY, len(PENALTIES))[2]


def best_weight(gains: Callable, users: np.ndarray, table: np.ndarray, linear: Any) -> float:
    """The weight with which the scores of a linear part are best added to a network's.

    Where validation users are few, the best weight is best by chance. So it is moved towards the
    one with which both parts spread the items equally far, as long as that costs no more than
    `NOISE` standard errors of the difference.

    Args:
        gains: Callable. From a weight to what each validation user gains with it, float `[U]`.
        users, table: float arrays `[E, C]` and `[Y, C]`; the network's scores are their products.
        linear: LinearScores of the same rows.

    Returns:
        float. 0 where the linear part does not help; `ALONE` spreads where the network does not,
        which then orders only what the linear part finds equal.
    """
    spreads = _spreads(users, table, linear)
    if not spreads[1]:
        return 0.0
    unit = max(spreads[0], 1e-6) / spreads[1]
    weights, measured = [0.0, *(unit * share for share in SHARES), unit * ALONE], {}

    def mean_gain(place):
        if place not in measured:
            measured[place] = np.asarray(gains(weights[place]), "float64")
        return measured[place].mean(), None

    equal = 1 + SHARES.index(1.0)
    _climb(mean_gain, equal, len(weights))
    for end in (0, len(weights) - 1):  # the climb may have ended on a hillock
        mean_gain(end)
    best = max(sorted(measured), key=lambda place: measured[place].mean())
    if best == 0:
        return 0.0
    place, step = best, 1 if best < equal else -1
    while place != equal:
        mean_gain(place + step)
        worse = measured[best] - measured[place + step]
        if worse.mean() > NOISE * worse.std() / np.sqrt(len(worse)):
            break
        place += step
    return weights[place]


def _spreads(users, table, linear):
    """How far the scores of the items lie from each other, the network's and the linear part's.

    With millions of items the scores of all the rows would not fit in memory.
    """
    rows = np.arange(0, len(users), max(1, len(users) // SPREAD_ROWS))
    parts = np.array_split(rows, max(1, -(-len(rows) * len(table) // SPREAD_SCORES)))
    of_rows = [
        [np.std(users[some] @ table.T, axis=1), np.std(linear(some), axis=1)] for some in parts
    ]
    return np.mean(np.concatenate(of_rows, axis=1), axis=1).tolist()


def _climb(measure, place, count):
    """The best of `0, ..., count - 1`, walking uphill from a place.

    Args:
        measure: Callable. From a place to a value and what has it.

    Returns:
        The best value, its place, and what has it.
    """
    value, part = measure(place)
    best = value, place, part
    for step in (1, -1):
        here = place + step
        while 0 <= here < count:
            value, part = measure(here)
            if value <= best[0]:
                break
            best = value, here, part
            here += step
        if best[1] != place:
            break
    return best
