"""The linear part of a host: fitted to a log, and chosen and weighed on what is held out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_peterrec import progress
from keras_peterrec.integers import counted_up
from keras_peterrec.linear.bag import EVENTS, Bag
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.item_regression import EXACT_UP_TO, ItemRegression
from keras_peterrec.linear.last_item import NAME as LAST_ITEM
from keras_peterrec.linear.last_item import LastItemCounts, add_followers
from keras_peterrec.linear.linear_fitting import best_ease, best_item_regression, best_penalty
from keras_peterrec.linear.linear_part import LinearPart, Rows, shares_of
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.linear.sparse_regression import (
    FEWER_CANDIDATES,
    MOST_ITEMS,
    Pairs,
    SparseRegression,
)
from keras_peterrec.log.event_split import VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.vocabulary import count_items, is_item, number_of
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.network.network import Network
from keras_peterrec.runs.next_item import METRIC, NextItemEvaluation
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.settings.pretrain import PretrainSettings

# With many items: targets and items by which the linear part is chosen, before it is fitted to all,
# and users and scores by which it is weighed.
CHOOSING_ROWS, CHOOSING_ITEMS = 200_000, 10_000
LEAST_CHOOSING, CHOOSING_SCORES = 2_500, 2 * 10**7
LEAST_WEIGHING, WEIGHING_SCORES = 500, 5 * 10**9
# Fitting may take as long as training a network of `--size base` on the same events.
BASE_MULTIPLICATIONS = 196_608  # of the larger of these networks for one event
EPOCHS = 10  # that training takes at least; a run may ask for fewer
EVENTS_OF_ITEM = 40  # one more item of a sparse regression costs as much as training on so many
EVENTS_OF_ROW = 10  # the same of one more row by which it is chosen
EXACT_CUBED = 90_000  # a dense regression of I items costs as much as I³ divided by this
LEAST_EXACT, LEAST_ITEMS, LEAST_ROWS = 2_048, 5_000, 50_000
# Baselines beside it.
OWN_ITEMS, RECENT_POPULARITY = "items of the history", "recent popularity"
RECENT = 0.1  # share of the training events


@dataclass(frozen=True)
class Bounds:
    """How much a linear part may cost: about as long as the training that it stands beside.

    It is counted in events, not in seconds, so that the same log gives the same host.

    Args:
        exact: int. Up to so many items the regression is exact.
        items: int. So many of the most frequent items take part above that.
        rows: int. By so many rows it is chosen there, before it is fitted to all.
    """

    exact: int
    items: int
    rows: int

    @classmethod
    def of(cls, log: PretrainingLog, epochs: int, network: Network) -> "Bounds":
        """The Bounds beside a training of a network on a log, for so many epochs at most."""
        work = max(1.0, network.multiplications / BASE_MULTIPLICATIONS)
        events = log.summary["events"] * min(epochs, EPOCHS) * work
        exact = int((events * EXACT_CUBED) ** (1 / 3))
        items, rows = int(events // EVENTS_OF_ITEM), int(events // EVENTS_OF_ROW)
        return cls(
            min(EXACT_UP_TO, max(LEAST_EXACT, exact)),
            min(MOST_ITEMS, max(LEAST_ITEMS, items)),
            min(CHOOSING_ROWS, max(LEAST_ROWS, rows)),
        )

    def is_exact(self, items: int) -> bool:
        """Whether the regression between so many items is exact."""
        return items <= min(self.exact, EXACT_UP_TO)


def fit_linear(
    log: PretrainingLog, count: Callable, bounds: Bounds, earlier: LinearPart | None = None
) -> LinearPart:
    """The regression from a history to its next item that is best for the validation events.

    Args:
        log: PretrainingLog. What is held out is not fitted to.
        count: Callable. What makes the sparse regression of all users: `sparse_regression_of`, or
            another function of a log, a Bag and the most items that take part.
        earlier: LinearPart or `None`, see `best_item_regression`. Defaults to `None`.
    """
    sequences, items = log.sequences, len(log.counts)
    rows, exact = next_item_rows(sequences), bounds.is_exact(items)
    users = min(log.most_validated, max(LEAST_CHOOSING, CHOOSING_SCORES // items))
    asked = VALIDATION, log.keep_seen, users
    validation = NextItemEvaluation(sequences, EVENTS, *asked, fields=log.fields)
    quality = lambda part: validation.linear_gains(part, METRIC.name)
    with progress.stage("fitting the linear part") as found:
        progress.part("choosing how far it looks back")
        few, most = (
            (rows, None)
            if exact
            else (rows.first(bounds.rows), min(bounds.items // 4, CHOOSING_ITEMS))
        )
        make = lambda bag: _regression(bag, few, log, exact, most)
        same = np.arange(items) if log.keep_seen else None
        with_fields = _with_fields(log, bounds)
        # A sparse one is fitted once more below, to all rows.
        given = quality, shares_of(log.target_counts)
        linear = best_item_regression(make, *given, earlier, with_fields, same, is_last=exact)
        if linear.is_sparse:
            progress.part("counting pairs of items")
            regression = count(log, linear.bag, most=bounds.items)
            linear = best_penalty(regression, *given, linear.chosen["penalty"], same)
            if regression.items < items:
                found(f"between the {regression.items:,} most frequent of {items:,} items")
        found(", ".join(f"{name} {value:g}" for name, value in linear.chosen.items() if value))
    return linear


def _with_fields(log, bounds):
    """What makes the regression of a Bag that reads the fields of events, if one is to be tried.

    It is the exact one: between more items than that takes, no fields are read.
    """
    items, features = len(log.counts), EventFeatures.of(log.fields)
    if not features or not bounds.is_exact(items):
        return None
    rows = next_item_rows(log.sequences)
    rows = rows._replace(counted=features.matrix(log.fields.rows(log.sequences), items))
    return lambda bag: ItemRegression(bag, rows, items, items, features)


def _regression(bag, rows, log, exact, most=None):
    items = len(log.counts)
    if exact:
        return ItemRegression(bag, rows, items, items)
    counts = log.counts
    if log.sequences.asked is None:
        counts = np.bincount(rows.targets, minlength=items)
    regression = _sparse(log, bag, counts, most, FEWER_CANDIDATES)
    regression.add(rows)
    return regression


def _sparse(log, bag, counts, most, candidates=None):
    """A sparse regression without rows yet, to all next items or to those that are asked for."""
    items, asked = len(log.counts), log.sequences.asked is not None
    targets = log.target_counts if asked else None
    return SparseRegression(bag, items, items, counts, targets, most, candidates=candidates)


def refit_linear(
    log: PretrainingLog,
    count: Callable,
    bounds: Bounds,
    chosen: dict,
    earlier: LinearPart | None = None,
) -> LinearPart:
    """The regression with settings that were chosen before, times its weight.

    Args:
        log, count, bounds: see `fit_linear`.
        chosen: dict of `weight`, `fade`, `penalty`, `events`, `copy` and `popularity`; see
            `metrics.json`.
        earlier: LinearPart or `None`, see `best_item_regression`. Defaults to `None`.
    """
    items, bag, prior = len(log.counts), Bag(chosen["fade"]), None
    with progress.stage("fitting the linear part to everything"):
        if not bounds.is_exact(items):
            regression = count(log, bag, most=bounds.items)
        elif chosen.get("fields"):
            regression = _with_fields(log, bounds)(bag)
        else:
            regression = _regression(bag, next_item_rows(log.sequences), log, exact=True)
        if chosen.get("goes_on"):
            prior = earlier.table
        part = regression.solve(chosen["penalty"], prior)
        part = part.as_chosen(chosen, np.arange(items), shares_of(log.target_counts))
        return part.moved(chosen["weight"])


def sparse_regression_of(
    log: PretrainingLog, bag: Bag, most: int | None = None
) -> SparseRegression:
    """The sparse regression of all users, a part of them in memory at a time.

    Args:
        most: see `SparseRegression`.
    """
    regression = _sparse(log, bag, log.counts, most)
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


def next_item_rows(sequences: Events) -> Rows:
    """A row for each event that training predicts, user by user."""
    starts, stops = sequences.training_windows(len(sequences.items))
    counts = stops - starts
    place = counted_up(counts)
    starts, stops = np.repeat(starts, counts), np.repeat(starts, counts) + place + 1
    targets = sequences.items[stops]
    is_known = is_item(targets)
    if sequences.asked is not None:
        is_known &= sequences.asked[stops]
    targets = number_of(targets[is_known])
    offsets = np.arange(len(targets) + 1)
    return Rows(sequences.items, starts[is_known], stops[is_known], offsets, targets)


def join(
    pretrainer: Pretrainer, linear: LinearPart, log: PretrainingLog, settings: PretrainSettings
) -> float:
    """Adds the linear part to a trained network with the weight that validation asks."""
    users = log.most_validated
    if linear.is_sparse:  # each weight asks for a ranking of all items
        users = min(users, max(LEAST_WEIGHING, WEIGHING_SCORES // len(log.counts)))
    asked = VALIDATION, log.keep_seen, users
    validation = NextItemEvaluation(log.sequences, settings.max_length, *asked, fields=log.fields)
    weight = validation.best_weight(pretrainer, linear)
    if weight:
        pretrainer.linear = LinearTable.of_part(linear.moved(weight))
    return weight


def fit_ease(sequences: Events, validation: NextItemEvaluation, items: int) -> LinearPart | None:
    """EASE of the training events, or `None` where there are too many items for it."""
    if items > EXACT_UP_TO:
        return None
    starts, stops = sequences.training_windows(len(sequences.items))
    bags = Bag(events=len(sequences.items)).matrix(sequences.items, starts, stops + 1, items)
    quality = lambda part: validation.measure_linear(part)[METRIC.name]
    return best_ease(bags, quality)


def rule_baselines(
    sequences: Events, counts: np.ndarray, evaluation: NextItemEvaluation, by_time: bool = False
) -> list[dict]:
    """Names and metrics of simple rules: next items by counts alone.

    "Last item and successors" is always among them; "items of the history" where these may be
    answered; "recent popularity", of the latest tenth of the training events, where the log is
    split by time.

    Args:
        sequences: Events, whose training events are counted.
        counts: int array. How often training has each item of the vocabulary.
        evaluation: NextItemEvaluation of the same vocabulary.
        by_time: bool. Whether training ends at one moment for all users. Defaults to `False`.
    """
    followers = _followers(sequences, len(counts))
    found = {LAST_ITEM: evaluation.last_item(LastItemCounts(followers, counts))}
    if evaluation.keep_seen:
        found[OWN_ITEMS] = evaluation.own_items(counts)
    if by_time and sequences.timestamps is not None:
        trained = sequences.predicted
        latest = np.quantile(sequences.timestamps[trained], 1 - RECENT)
        recent = sequences.items[trained & (sequences.timestamps >= latest)]
        found[RECENT_POPULARITY] = evaluation.popularity(count_items(recent, len(counts)))
    return [{"name": name, "test": test} for name, test in found.items()]


def keeps_seen(log: PretrainingLog) -> bool:
    """Whether items of the history should be answered, so that more of what is asked for is found.

    One simple rule, what followed the last item, answers the validation events with them and
    without; an event whose item is left out is not found. It takes seconds, and ranks an item again
    only as high as people came back to it.
    """
    items = len(log.counts)
    rule = LastItemCounts(_followers(log.sequences, items), log.counts, np.full(items, -1))
    asked = VALIDATION, False, log.most_validated
    found = NextItemEvaluation(log.sequences, EVENTS, *asked).last_item(rule)
    return bool(found[f"repeat_{METRIC.name}"] > found[f"new_{METRIC.name}"])


def _followers(sequences, items):
    """How often training has each item right after each other one, sparse `[items, items]`."""
    pairs = Pairs(items, items)
    add_followers(pairs, next_item_rows(sequences))
    return pairs.matrix()
