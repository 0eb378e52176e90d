"""Chooses the linear part of a recommendation, and its weight beside a network."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_peterrec.linear.bag import EVENTS, Bag
from keras_peterrec.linear.linear_part import LinearPart

# What validation chooses from. Both lists are searched uphill, so longer ones cost little.
FADES = (0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 20.0, 80.0, None)
PENALTIES = (1.0, 5.0, 20.0, 100.0, 500.0, 2_500.0, 10_000.0)
FIRST_FADE, FIRST_PENALTY = 6, 3
# What an item may say more of itself than its rows do; see `LinearPart.copying`.
COPIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# What all targets together may score by how popular they are; see `LinearPart.with_popularity`.
POPULARITIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# Weights of the linear part that are tried: with 1 its scores differ from item to item as much as
# the network's.
SHARES = (
    *(0.03, 0.06, 0.1, 0.14, 0.2, 0.3, 0.45, 0.65, 1.0),
    *(1.5, 2.2, 3.3, 5.0, 10.0, 30.0, 100.0),
)
# How many standard errors a weight may be worse than the best one, and what is added to a fit has
# to be better. Measured for weights over random validation users of four tasks: .5 was as good as
# 0, and on 50 to 200 users of Amazon toys 2 % better.
NOISE = 0.5
# At this ratio the network only orders items that the linear part scores equally.
ALONE = 1e4
SPREAD_ROWS = 256
SPREAD_SCORES = 1 << 25  # that are in memory at once


def best_item_regression(
    make: Callable,
    quality: Callable,
    shares: np.ndarray,
    earlier: LinearPart | None = None,
    make_with_fields: Callable | None = None,
    same: np.ndarray | None = None,
    is_last: bool = True,
) -> LinearPart:
    """The linear part to items whose fade and penalty are best.

    Args:
        make: Callable. From a Bag to an `item_regression`.
        quality: Callable. From a LinearPart to what each validation user gains by it, float array;
            the higher the mean, the better.
        shares: float array `[Y]`. Which share of the targets of training each output is.
        earlier: LinearPart or `None`. One that these rows may go on from, if that is better than to
            begin anew; see `ItemRegression.solve`. Defaults to `None`.
        make_with_fields: Callable or `None`. As `make`, of a regression that reads fields as well.
            It is tried with the best bag, and kept where it is better. Defaults to `None`.
        same: int array `[I]` or `None`. The target that is the same item, or -1. Defaults to
            `None`: no item of a history is answered.
        is_last: bool. Whether no other fit follows, so that what is added to it is chosen as well.
            Defaults to `True`.
    """
    first = FIRST_PENALTY

    def of_fade(place):
        nonlocal first
        regression = make(Bag(FADES[place]))

        def of_penalty(place):
            return _with_quality(regression.solve(PENALTIES[place]), quality)

        value, first, part = _climb(of_penalty, first, len(PENALTIES))
        return value, part

    value, _, part = _climb(of_fade, FIRST_FADE, len(FADES))
    best = value, part
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
    return _after_the_fit(best[1], quality, shares, same) if is_last else best[1]


def best_penalty(
    regression: Any,
    quality: Callable,
    shares: np.ndarray,
    first: float,
    same: np.ndarray | None = None,
) -> LinearPart:
    """The linear part of an `item_regression` whose penalty is best.

    Args:
        quality, shares, same: see `best_item_regression`.
        first: float. The penalty to begin with, one of `PENALTIES`.
    """
    return _after_the_fit(_best_penalty(regression, quality, first)[1], quality, shares, same)


def _best_penalty(regression, quality, first):
    def of_penalty(place):
        return _with_quality(regression.solve(PENALTIES[place]), quality)

    value, _, part = _climb(of_penalty, PENALTIES.index(first), len(PENALTIES))
    return value, part


def _after_the_fit(part, quality, shares, same):
    """A linear part with what may be added to it: more events, more for some items.

    A sparse regression is fitted to short bags, and may read more than that. What somebody buys
    every few weeks, among hundreds of other things, stands further back.
    """
    gains = quality(part)
    if part.is_sparse and part.bag.events < EVENTS:
        part, gains = _best_of(part, gains, [part.looking_back(EVENTS)], quality)
    if same is not None and np.any(same >= 0):
        copying = (part.copying(amount, same) for amount in COPIES)
        part, gains = _best_of(part, gains, copying, quality)
    popular = (part.with_popularity(amount, shares) for amount in POPULARITIES)
    return _best_of(part, gains, popular, quality)[0]


def _best_of(part, gains, others, quality):
    """The best of some that are better than a linear part by more than chance, or that part.

    All are tried: a first step up may be too small to tell from chance.

    Args:
        gains: float array. The quality of the part.

    Returns:
        The best and its quality.
    """
    best, most = (part, gains), 0.0
    for other in others:
        found = quality(other)
        more = found - gains
        if more.mean() > max(most, NOISE * more.std() / np.sqrt(len(more))):
            best, most = (other, found), more.mean()
    return best


def _with_quality(part, quality):
    return np.mean(quality(part)), part


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
    for end in (0, len(weights) - 1):  # the climb may have ended at a lower top
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
