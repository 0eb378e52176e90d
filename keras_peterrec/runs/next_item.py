"""How well a host predicts held-out events of its own log."""

from typing import Any

import numpy as np

from keras_peterrec.data.vocabulary import FIRST_ITEM
from keras_peterrec.metrics import (
    full_ranks,
    popularity_ranks,
    popularity_table,
    ranking_metrics,
)
from keras_peterrec.metrics.best_items import ranking_details
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.metrics.ranking import ranking_gains
from keras_peterrec.models.last_item import LastItemCounts, last_items
from keras_peterrec.models.linear_fitting import best_weight
from keras_peterrec.models.linear_part import LinearPart
from keras_peterrec.tasks.task_kind import Metric
from keras_peterrec.training.inference import outputs_of

METRIC = Metric("ndcg@10", higher_is_better=True)  # it decides


class NextItemEvaluation:
    """Full ranking of each user's event that is asked for over all items of the log.

    No item is removed from the ranking. Metrics whose names begin with `new_` are the same with the
    items of the user's history removed, like a shop that recommends each item once.

    Args:
        sequences: Sequences.
        max_length: int.
        part: int. `VALIDATION` or `TEST` of the sequences' split.
        users: int or `None`. At most this many users, evenly spread over the log. Defaults to
            `None`, all.
        vocabulary: Vocabulary of the sequences, or `None`. With it and `counts`, measurements have
            `details`. Defaults to `None`.
        counts: int array or `None`. How often training has each item of the vocabulary. Defaults
            to `None`.
    """

    def __init__(
        self,
        sequences: Any,
        max_length: int,
        part: int,
        users: int | None = None,
        vocabulary: Any = None,
        counts: Any = None,
    ) -> None:
        starts, stops, targets = sequences.held_out(part)
        if users is not None and len(starts) > users:
            chosen = np.linspace(0, len(starts) - 1, users).astype("int64")
            starts, stops, targets = starts[chosen], stops[chosen], targets[chosen]
        self.sequences, self.max_length = sequences, max_length
        self.vocabulary, self.counts = vocabulary, counts
        self.starts, self.stops = starts, stops
        self.targets = np.where(targets >= FIRST_ITEM, targets - FIRST_ITEM, -1)

    def __len__(self):
        return len(self.starts)

    @property
    def user_ids(self) -> np.ndarray:
        """The user of each event, str `[E]`."""
        users = np.searchsorted(self.sequences.offsets, self.starts, side="right") - 1
        return self.sequences.user_ids[users]

    def measure(self, pretrainer: Any, new_items: bool = False) -> dict:
        """Metrics of a pretrainer; with `new_items` also those without the items seen."""
        linear = None if pretrainer.linear is None else self.scores(pretrainer.linear.part())
        return self._metrics(*self._network(pretrainer), new_items, linear)

    def popularity(self, counts: Any) -> dict:
        """Metrics of ranking by how often an item occurs in training."""
        table = np.ones((len(self), 1), "float32"), popularity_table(counts)
        ranks_of = lambda known: popularity_ranks(counts, self.targets, *known)
        return self._metrics(*table, new_items=True, ranks_of=ranks_of)

    def last_item(self, counts: LastItemCounts) -> dict:
        """Metrics of ranking the last item first, then what followed it, then what is popular."""
        table = np.ones((len(self), 1), "float32"), popularity_table(counts.counts)
        last = last_items(self.sequences.items, self.starts, self.stops)
        pairs = np.arange(len(self)), self.targets
        ranks_of = lambda known: counts.ranks(last, *pairs, *known)
        return self._metrics(*table, new_items=True, ranks_of=ranks_of)

    def measure_linear(self, linear: LinearPart, new_items: bool = False) -> dict:
        """Metrics of a LinearPart alone."""
        nothing = np.zeros((len(self), 1), "float32"), np.zeros((linear.outputs, 1), "float32")
        return self._metrics(*nothing, new_items, self.scores(linear))

    def linear_quality(self, linear: LinearPart, name: str) -> float:
        """A metric of a LinearPart alone; items of which a sparse one says nothing are misses."""
        if not linear.is_sparse:
            return self.measure_linear(linear)[name]
        scores = self.scores(linear)
        found = (scores.bags @ linear.table).tocsr()
        places = np.maximum(self.targets, 0)
        own = np.asarray(found[np.arange(len(self)), places]).reshape(-1)
        own = np.where(self.targets >= 0, own, 0.0)
        owners = np.repeat(np.arange(len(self)), np.diff(found.indptr))
        above = np.bincount(owners[found.data >= own[owners]], minlength=len(self))  # and itself
        return ranking_metrics(np.where(own > 0, above, linear.outputs))[name]

    def best_weight(self, pretrainer: Any, linear: LinearPart) -> float:
        """The weight with which a LinearPart is best added to a pretrainer's scores."""
        users, table = self._network(pretrainer)
        scores = self.scores(linear)

        def quality(weight):
            added = scores.times(weight) if weight else None
            return self._metrics(users, table, linear=added)[METRIC.name]

        return best_weight(quality, users, table, scores)

    def scores(self, linear: LinearPart) -> Any:
        """The LinearScores of the histories."""
        return linear.scores(self.sequences.items, self.starts, self.stops)

    def _network(self, pretrainer):
        """The users `[E, C]` and the items `[V, C]` whose products are the network's scores."""
        users = outputs_of(
            pretrainer.user_states, self.sequences.items, self.starts, self.stops, self.max_length
        )
        return users, np.asarray(pretrainer.item_table)

    def _metrics(self, queries, table, new_items=False, linear=None, ranks_of=None):
        pairs = np.arange(len(self)), self.targets
        if ranks_of is None:
            ranks_of = lambda known: full_ranks(queries, table, *pairs, *known, added=linear)
        none = np.zeros(len(self) + 1, "int64"), np.zeros(0, "int64")
        ranks = ranks_of(none)
        metrics, gains = ranking_metrics(ranks), ranking_gains(ranks)
        if new_items:
            lengths = self.stops - self.starts
            seen = np.concatenate(
                [self.sequences.items[a:b] for a, b in zip(self.starts, self.stops)]
            )
            known = np.concatenate([[0], np.cumsum(lengths)]), np.maximum(seen - FIRST_ITEM, -1)
            ranks = ranks_of(known)
            metrics.update(ranking_metrics(ranks, prefix="new_"))
            gains.update(ranking_gains(ranks, prefix="new_"))
        details = None
        if self.counts is not None:
            details = ranking_details(
                (self.starts, self.stops),
                queries,
                table,
                pairs,
                self.counts,
                self.vocabulary.items,
                known=self._seen,
                added=linear,
            )
        owners = np.arange(len(self))
        return Measured(metrics, gains, owners, user_ids=self.user_ids, details=details)

    def _seen(self, event):
        """The items of the history before an event, which a recommendation leaves out."""
        seen = self.sequences.items[self.starts[event] : self.stops[event]]
        return seen[seen >= FIRST_ITEM] - FIRST_ITEM
