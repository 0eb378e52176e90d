"""Baselines that a model has to beat: popularity, the majority class and the uniform answer."""

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.integers import counted_up, distinct_pairs, offsets_of, slices
from keras_peterrec.metrics.checked_arrays import integer_array

UNIFORM = "uniform"  # the baseline of one who knows nothing of a task but its classes


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


def popularity_ranks(
    item_counts: ArrayLike, targets: ArrayLike, known_offsets: ArrayLike, known_items: ArrayLike
) -> np.ndarray:
    """The ranks of `full_ranks` by popularity, without scores, where each query has one target.

    Millions of rare items have the same count, and `full_ranks` would look at each tie.

    Args:
        item_counts: int array `[V]`.
        targets: int array `[N]` in `[-1, V)`.
        known_offsets, known_items: see `full_ranks`.

    Returns:
        int64 array `[N]` of ranks, from 1 to V.
    """
    counts, targets = np.asarray(item_counts), np.asarray(targets)
    size, own = len(counts), counts[targets]  # of -1 any
    ranks = size - np.searchsorted(np.sort(counts), own)  # those with as many, itself included
    owners = np.repeat(np.arange(len(targets)), np.diff(known_offsets))
    removed = np.asarray(known_items)
    owners, removed = distinct_pairs(owners[removed >= 0], removed[removed >= 0], size)
    above = (counts[removed] >= own[owners]) & (removed != targets[owners])
    ranks = ranks - np.bincount(owners[above], minlength=len(targets))
    return np.where(targets >= 0, ranks, size)


def own_items_ranks(
    items: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    targets: np.ndarray,
    item_counts: np.ndarray,
) -> np.ndarray:
    """The ranks by the baseline "items of the history".

    First come these, the most frequent one first; of equally frequent ones the one that training
    has most often, and then the latest. All others follow by their counts; ties are against the
    target.

    Args:
        items: int array of numbers in `[-1, V)`; -1 is an item that nobody ranks.
        starts, stops: int arrays `[N]`, the histories: slices of `items`.
        targets: int array `[N]` in `[-1, V)`; the rank of -1 is V.
        item_counts: int array `[V]`, how often training has each item.

    Returns:
        int64 array `[N]` of ranks, from 1 to V.

    Source: GP-TopFreq of Li et al., "A Next Basket Recommendation Reality Check", TOIS 2023.
    """
    counts, targets = np.asarray(item_counts), np.asarray(targets, "int64")
    size, lengths = len(counts), stops - starts
    owners, places = slices(starts, lengths)
    owners, places = owners[items[places] >= 0], places[items[places] >= 0]
    pairs = owners * size + items[places]
    order = np.argsort(pairs, kind="stable")
    pairs, places = pairs[order], places[order]
    ends = np.flatnonzero(np.append(pairs[1:] != pairs[:-1], True)[: len(pairs)])
    own, last, frequency = pairs[ends], places[ends], np.diff(ends, prepend=-1)
    # The place of each own item among those of its history.
    owner = own // size
    of_owner = np.bincount(owner, minlength=len(targets))
    place = np.empty(len(own), "int64")
    popular = counts[own % size]
    place[np.lexsort((-last, -popular, -frequency, owner))] = counted_up(of_owner)
    asked = np.arange(len(targets)) * size + targets
    at = np.searchsorted(own, asked)
    among_own = (targets >= 0) & (np.append(own, -1)[at] == asked)
    # Another item comes after all own ones and after those that are as popular.
    others = popularity_ranks(counts, targets, offsets_of(of_owner), own % size)
    return np.where(among_own, 1 + np.append(place, 0)[at], np.minimum(of_owner + others, size))


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


def uniform_probabilities(classes: int, rows: int) -> np.ndarray:
    """Gives every row and class the same probability, `1 / classes`: what knowing nothing says.

    The log-loss is `log(classes)`. Ties count against the model, so `classification_metrics` gives
    an accuracy of 0; a class at random is right once in `classes` rows.

    Args:
        classes: int, at least 2. The number of classes.
        rows: int. The number of rows to predict.

    Returns:
        float64 array `[rows, classes]`.

    Raises:
        InputError: if an argument is not as above.

    Example:

    >>> uniform_probabilities(classes=4, rows=1).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    check_count("classes", classes, least=2)
    check_count("rows", rows, least=0)
    return np.full((rows, classes), 1.0 / classes)
