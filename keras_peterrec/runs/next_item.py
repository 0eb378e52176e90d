"""How well a host predicts held-out events of its own log."""

from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from keras_peterrec.linear.last_item import LastItemCounts, last_items
from keras_peterrec.linear.linear_fitting import best_weight
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.events import Events
from keras_peterrec.log.seen_items import distinct_items
from keras_peterrec.log.vocabulary import Vocabulary, id_of, number_of
from keras_peterrec.metrics import (
    full_ranks,
    own_items_ranks,
    popularity_ranks,
    popularity_table,
    ranking_metrics,
)
from keras_peterrec.metrics.best_items import ranking_details
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.metrics.ranking import MISSED, among_known, ranking_gains, whole_gains
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.tasks.task_kind import Metric
from keras_peterrec.training.inference import outputs_of

SPARSE_ROWS = 128  # whose sparse scores are in memory at once
METRIC = Metric("ndcg@10", higher_is_better=True)  # it decides


class NextItemEvaluation:
    """Full ranking of each user's event that is asked for over all items that may be answered.

    These are all items of the log, without those of the user's history unless seen items are kept.
    Names that begin with `new_` and `repeat_` are of metrics with the history taken out and kept,
    whichever is served: an event whose item is taken out is a miss.

    Args:
        sequences: Events, encoded.
        max_length: int.
        part: str. `"validation"` or `"test"` of the sequences' split.
        keep_seen: bool. Whether the host answers with items of the history; see `Host`. Defaults
            to `False`.
        users: int or `None`. At most this many users, evenly spread over the log. Defaults to
            `None`, all.
        vocabulary: Vocabulary of the sequences, or `None`. With it and `counts`, measurements have
            `details`. Defaults to `None`.
        counts: int array or `None`. How often training has each item of the vocabulary. Defaults
            to `None`.
        fields: EventFields. What the network reads of each event beside its item. Defaults to
            `EventFields()`, nothing.

    Example:

    >>> test = NextItemEvaluation(sequences, max_length=12, part="test")
    >>> "ndcg@10" in test.measure(host.pretrainer)
    True
    """

    def __init__(
        self,
        sequences: Events,
        max_length: int,
        part: str,
        keep_seen: bool = False,
        users: int | None = None,
        vocabulary: Vocabulary | None = None,
        counts: np.ndarray = None,
        fields: EventFields = EventFields(),
    ) -> None:
        starts, stops, targets = sequences.held_out(part)
        if users is not None and len(starts) > users:
            some = np.linspace(0, len(starts) - 1, users).astype("int64")
            starts, stops, targets = starts[some], stops[some], targets[some]
        self.sequences, self.max_length, self.keep_seen = sequences, max_length, keep_seen
        self.vocabulary, self.counts, self.fields = vocabulary, counts, fields
        self.starts, self.stops, self._counted = starts, stops, None
        self.targets = np.maximum(number_of(targets), -1)

    def __len__(self):
        return len(self.starts)

    @property
    def user_ids(self) -> np.ndarray:
        """The user of each event, str `[E]`."""
        users = np.searchsorted(self.sequences.offsets, self.starts, side="right") - 1
        return self.sequences.user_ids[users]

    def measure(self, pretrainer: Pretrainer, both: bool = False) -> dict:
        """Metrics of a pretrainer; with `both` also those with the history taken out and kept."""
        linear = None if pretrainer.linear is None else self.scores(pretrainer.linear.part())
        users, table = self._network(pretrainer)
        return self._metrics(users, table, both, linear)

    def measure_parts(self, pretrainer: Pretrainer) -> tuple[dict, dict]:
        """Metrics of a pretrainer with its linear part, and without; the network is asked once."""
        users, table = self._network(pretrainer)
        added = pretrainer.linear
        linear = None if added is None else self.scores(added.part())
        both = self._metrics(users, table, both=True, linear=linear)
        return both, both if linear is None else self._metrics(users, table)

    def popularity(self, counts: np.ndarray) -> dict:
        """Metrics of ranking by how often an item occurs in training."""
        return self._by_rule(counts, lambda known: popularity_ranks(counts, self.targets, *known))

    def own_items(self, counts: np.ndarray) -> dict:
        """Metrics of ranking what the user had before first, then what is popular."""
        numbers = np.maximum(number_of(self.sequences.items), -1)

        def ranks_of(known):
            if len(known[1]):  # the history is not answered
                return popularity_ranks(counts, self.targets, *known)
            return own_items_ranks(numbers, self.starts, self.stops, self.targets, counts)

        return self._by_rule(counts, ranks_of)

    def last_item(self, counts: LastItemCounts) -> dict:
        """Metrics of ranking the last item first, then what followed it, then what is popular."""
        last = last_items(self.sequences.items, self.starts, self.stops)
        pairs = np.arange(len(self)), self.targets
        return self._by_rule(counts.counts, lambda known: counts.ranks(last, *pairs, *known))

    def _by_rule(self, counts, ranks_of):
        """Metrics of the ranks of a simple rule; its details show the most popular items."""
        users = np.ones((len(self), 1), "float32")
        return self._metrics(users, popularity_table(counts), both=True, ranks_of=ranks_of)

    def measure_linear(self, linear: LinearPart, both: bool = False) -> Measured:
        """Metrics of a LinearPart alone."""
        nothing = np.zeros((len(self), 1), "float32"), np.zeros((linear.outputs, 1), "float32")
        return self._metrics(*nothing, both, self.scores(linear))

    def linear_gains(self, linear: LinearPart, name: str) -> np.ndarray:
        """What each event adds to a metric of a LinearPart alone, float `[E]`.

        Items that a sparse one scores 0 are misses.
        """
        if not linear.is_sparse:
            return self.measure_linear(linear).rows[name]
        bags, ranks = self.scores(linear).bags, np.empty(len(self), "int64")
        by_bias = linear.bias, np.sort(linear.bias)
        for start in range(0, len(self), SPARSE_ROWS):
            stop = min(start + SPARSE_ROWS, len(self))
            found = bags[start:stop] @ linear.table
            ranks[start:stop] = self._sparse_ranks(found, *by_bias, start, stop)
        return ranking_gains(ranks)[name]

    def _sparse_ranks(self, found, bias, rising, start, stop):
        """The ranks of some events; `MISSED` where the target's score is not above 0.

        Args:
            found: sparse matrix `[stop - start, Y]`. Scores, and `bias` of each item beside them:
                so all items are counted by the bias first, and those found once more by the sum.
            rising: float array `[Y]`. The bias, sorted.
        """
        found, targets = found.tocsr(), self.targets[start:stop]
        rows, items = np.arange(stop - start), np.maximum(targets, 0)
        own = np.asarray(found[rows, items]).reshape(-1) + bias[items]
        own = np.where(targets >= 0, own, 0.0)
        offsets, seen = self._removed(self.keep_seen)
        seen = seen[offsets[start] : offsets[stop]]
        if len(seen):  # what is seen is of no value, and so is not ranked
            offsets = offsets[start : stop + 1] - offsets[start]
            owners = np.repeat(rows, np.diff(offsets))
            known = sparse.csr_array((np.ones(len(seen), "float32"), seen, offsets), found.shape)
            own[owners[seen == targets[owners]]] = 0.0
            found = found - known * np.float32(np.inf)
        owners = np.repeat(rows, np.diff(found.indptr))
        by_bias = bias[found.indices]
        more = (found.data + by_bias >= own[owners]).astype("int64") - (by_bias >= own[owners])
        above = len(bias) - np.searchsorted(rising, own)  # the target itself as well
        above = above + np.bincount(owners, more, minlength=len(rows)).astype("int64")
        return np.where(own > 0, above, MISSED)

    def best_weight(self, pretrainer: Pretrainer, linear: LinearPart) -> float:
        """The weight with which a LinearPart is best added to a pretrainer's scores."""
        users, table = self._network(pretrainer)
        scores = self.scores(linear)

        def gains(weight):
            added = scores.moved(weight) if weight else None
            ranks = self._ranks(users, table, added, self.keep_seen)
            return whole_gains(ranks, np.arange(len(self)))

        return best_weight(gains, users, table, scores)

    def scores(self, linear: LinearPart) -> Any:
        """The LinearScores of the histories."""
        if not linear.features:
            return linear.scores(self.sequences.items, self.starts, self.stops)
        if self._counted is None:
            self._counted = linear.features.matrix(self._rows, linear.items)
        return linear.scores(self._rows, self.starts, self.stops, counted=self._counted)

    def _network(self, pretrainer):
        """The users `[E, C]` and the items `[V, C]` whose products are the network's scores."""
        users = outputs_of(
            pretrainer.user_states, self._rows, self.starts, self.stops, self.max_length
        )
        return users, np.asarray(pretrainer.item_table)

    @cached_property
    def _rows(self):
        """What the network reads of each event: of a history's last one, the time to the target."""
        return self.fields.rows(self.sequences)

    def _metrics(self, queries, table, both=False, linear=None, ranks_of=None):
        ways = (False, True) if both else (self.keep_seen,)
        ranks = {kept: self._ranks(queries, table, linear, kept, ranks_of) for kept in ways}
        named = {"": ranks[self.keep_seen]}
        if both:
            named |= {"new_": ranks[False], "repeat_": ranks[True]}
        metrics, gains = {}, {}
        for prefix, found in named.items():
            metrics |= ranking_metrics(found, prefix=prefix)
            gains |= ranking_gains(found, prefix=prefix)
        details = None
        if self.counts is not None:
            offsets, items = self._removed(self.keep_seen)
            details = ranking_details(
                (self.starts, self.stops),
                queries,
                table,
                (np.arange(len(self)), self.targets),
                self.counts,
                self.vocabulary.items,
                known=lambda event: items[offsets[event] : offsets[event + 1]],
                added=linear,
            )
        owners = np.arange(len(self))
        return Measured(metrics, gains, owners, user_ids=self.user_ids, details=details)

    def _ranks(self, queries, table, linear, keep_seen, ranks_of=None):
        pairs = np.arange(len(self)), self.targets
        if ranks_of is None:
            ranks_of = lambda known: full_ranks(queries, table, *pairs, *known, added=linear)
        ranks = ranks_of(self._removed(keep_seen))
        ranks[self._missed(keep_seen)] = MISSED
        return ranks

    def _removed(self, keep_seen):
        """The items that are not answered for each event, as offsets and one list."""
        if keep_seen:
            return np.zeros(len(self) + 1, "int64"), np.zeros(0, "int64")
        return self._known

    def _missed(self, keep_seen):
        """Which events are of an item that is never answered."""
        return self.targets < 0 if keep_seen else (self.targets < 0) | self._repeats

    @cached_property
    def _repeats(self):
        """Which events are of an item of the history."""
        return among_known(np.arange(len(self)), self.targets, *self._known)

    @cached_property
    def _known(self):
        """The items of the history before each event, each once, as offsets and one list."""
        offsets, items = distinct_items(self.sequences.items, self.starts, self.stops, id_of(0))
        return offsets, number_of(items)
