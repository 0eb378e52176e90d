"""The linear part of a host: fitted to a log, and chosen and weighed on what is held out."""

from collections.abc import Callable

import numpy as np

from keras_peterrec import progress
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.splits import VALIDATION
from keras_peterrec.data.vocabulary import FIRST_ITEM
from keras_peterrec.layers.linear_table import LinearTable
from keras_peterrec.models.last_item import NAME as LAST_ITEM
from keras_peterrec.models.last_item import LastItemCounts, add_followers
from keras_peterrec.models.linear_fitting import (
    EXACT_UP_TO,
    best_ease,
    best_item_regression,
    best_penalty,
    item_regression,
)
from keras_peterrec.models.linear_part import EVENTS, Bag, LinearPart, Rows
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.models.sparse_regression import Pairs, SparseRegression
from keras_peterrec.runs.next_item import METRIC, NextItemEvaluation
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.settings.pretrain import PretrainSettings

# With many items: targets and items by which the linear part is chosen, before it is fitted to all,
# and users and scores by which it is weighed.
CHOOSING_ROWS, CHOOSING_ITEMS = 1_000_000, 20_000
LEAST_WEIGHING, WEIGHING_SCORES = 500, 5 * 10**9


def fit_linear(
    log: PretrainingLog, count: Callable, earlier: LinearPart | None = None
) -> LinearPart:
    """The regression from a history to its next item that is best for the validation events.

    Args:
        log: PretrainingLog. What is held out is not fitted to.
        count: Callable. What makes the sparse regression of all users: `sparse_regression_of`, or
            another function of a log and a Bag.
        earlier: LinearPart or `None`, see `best_item_regression`. Defaults to `None`.
    """
    sequences, items = log.sequences, len(log.counts)
    rows = next_item_rows(sequences)
    validation = NextItemEvaluation(
        sequences, EVENTS, VALIDATION, log.keep_seen, log.most_validated
    )
    quality = lambda part: validation.linear_quality(part, METRIC.name)
    with progress.stage("fitting the linear part") as found:
        large = log.most_measured or len(rows.starts) > CHOOSING_ROWS
        large = large and items > EXACT_UP_TO  # chosen by a part, and then fitted to all
        few, most = (rows.first(CHOOSING_ROWS), CHOOSING_ITEMS) if large else (rows, None)
        make = lambda bag: item_regression(bag, few, items, items, next_items=True, most=most)
        linear = best_item_regression(make, quality, earlier)
        if large and linear.is_sparse:
            regression = count(log, linear.bag)
            linear = best_penalty(regression, quality, linear.chosen["penalty"])
        found(", ".join(f"{name} {value:g}" for name, value in linear.chosen.items() if value))
    return linear


def refit_linear(
    log: PretrainingLog, count: Callable, chosen: dict, earlier: LinearPart | None = None
) -> LinearPart:
    """The regression with settings that were chosen before, times its weight.

    Args:
        log, count: see `fit_linear`.
        chosen: dict of `weight`, `fade` and `penalty`, as `metrics.json` has them.
        earlier: LinearPart or `None`, see `best_item_regression`. Defaults to `None`.
    """
    items, bag = len(log.counts), Bag(chosen["fade"])
    with progress.stage("fitting the linear part to everything"):
        if items > EXACT_UP_TO:
            return count(log, bag).solve(chosen["penalty"]).moved(chosen["weight"])
        rows = next_item_rows(log.sequences)
        regression = item_regression(bag, rows, items, items, next_items=True)
        prior = earlier.table if chosen.get("goes_on") else None
        return regression.solve(chosen["penalty"], prior).moved(chosen["weight"])


def sparse_regression_of(log: PretrainingLog, bag: Bag) -> SparseRegression:
    """The sparse regression of all users, a part of them in memory at a time."""
    items = len(log.counts)
    regression = SparseRegression(bag, items, items, log.counts)
    for part in log.training_parts():
        regression.add(next_item_rows(part))
    return regression


def say_if_nothing_is_counted(log: PretrainingLog, runner: str) -> None:
    """Prints where a log is too small for a runner to have something to count."""
    items = len(log.counts)
    if log.most_measured and items > EXACT_UP_TO:
        return
    progress.line(
        f"nothing is left to count for {runner}: this process fits the linear part of a log with "
        f"at most {EXACT_UP_TO:,} items or {log.chunk_events:,} events at once (this one has "
        f"{items:,} and {log.summary['events']:,})"
    )


def next_item_rows(sequences: Sequences) -> Rows:
    """A row for each event that training predicts, user by user."""
    starts, stops = sequences.training_windows(len(sequences.items))
    counts = stops - starts
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts, stops = np.repeat(starts, counts), np.repeat(starts, counts) + place + 1
    targets = sequences.items[stops]
    known = targets >= FIRST_ITEM
    targets = targets[known] - FIRST_ITEM
    offsets = np.arange(len(targets) + 1)
    return Rows(sequences.items, starts[known], stops[known], offsets, targets)


def join(
    pretrainer: Pretrainer, linear: LinearPart, log: PretrainingLog, settings: PretrainSettings
) -> float:
    """Adds the linear part to a trained network with the weight that validation asks."""
    users = log.most_validated
    if linear.is_sparse:  # each weight asks for a ranking of all items
        users = min(users, max(LEAST_WEIGHING, WEIGHING_SCORES // len(log.counts)))
    asked = VALIDATION, log.keep_seen, users
    validation = NextItemEvaluation(log.sequences, settings.max_length, *asked)
    weight = validation.best_weight(pretrainer, linear)
    if weight:
        pretrainer.linear = LinearTable.of_part(linear.moved(weight))
    return weight


def fit_ease(sequences: Sequences, validation: NextItemEvaluation, items: int) -> LinearPart | None:
    """EASE of the training events, or `None` where there are too many items for it."""
    if items > EXACT_UP_TO:
        return None
    starts, stops = sequences.training_windows(len(sequences.items))
    bags = Bag(events=len(sequences.items)).matrix(sequences.items, starts, stops + 1, items)
    quality = lambda part: validation.measure_linear(part)[METRIC.name]
    return best_ease(bags, quality)


def last_item_baseline(
    sequences: Sequences, counts: np.ndarray, evaluation: NextItemEvaluation
) -> dict:
    """Name and metrics of "the last item again, then what followed it, then what is popular".

    Args:
        sequences: Sequences, whose training events are counted.
        counts: int array. How often training has each item of the vocabulary.
        evaluation: NextItemEvaluation of the same vocabulary.
    """
    pairs = Pairs(len(counts), len(counts))
    add_followers(pairs, next_item_rows(sequences))
    found = LastItemCounts(pairs.matrix(), counts)
    return {"name": LAST_ITEM, "test": evaluation.last_item(found)}


def trained_counts(sequences: Sequences, items: int) -> np.ndarray:
    """How often each item of the vocabulary is in events that training sees, int `[items]`."""
    lengths = sequences.lengths
    place = np.arange(lengths.sum()) - np.repeat(sequences.offsets[:-1], lengths)
    trained = sequences.items[place < np.repeat(sequences.split.trained, lengths)]
    return np.bincount(trained, minlength=items + FIRST_ITEM)[FIRST_ITEM:]
