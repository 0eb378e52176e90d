"""Recommendation: target items for users who are new in a domain."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec.integers import distinct_pairs
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.item_regression import EXACT_UP_TO, item_regression
from keras_peterrec.linear.last_item import NAME as LAST_ITEM
from keras_peterrec.linear.last_item import LastItemCounts, add_followers, last_items
from keras_peterrec.linear.linear_fitting import best_item_regression, best_weight
from keras_peterrec.linear.linear_part import LinearPart, LinearScores, Rows
from keras_peterrec.linear.sparse_regression import Pairs
from keras_peterrec.log.event_split import TEST, TRAIN, VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.item_table import ItemTable
from keras_peterrec.log.moments import is_moment
from keras_peterrec.log.seen_items import (
    answered_events,
    are_seen,
    distinct_items,
    what_is_seen,
)
from keras_peterrec.log.splits import events_before
from keras_peterrec.log.task_examples import recommendation_examples
from keras_peterrec.log.user_splits import split_target_events
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.metrics import full_ranks, popularity_table, ranking_metrics, sampled_ranks
from keras_peterrec.metrics.best_items import ranking_details
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.metrics.ranking import MISSED, among_known, ranking_gains, whole_gains
from keras_peterrec.progress import line
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.heads import RecommenderHead
from keras_peterrec.tasks.item_filters import ItemFilters
from keras_peterrec.tasks.target_loss import KINDS as LOSSES
from keras_peterrec.tasks.target_loss import TargetLoss
from keras_peterrec.tasks.task_data import PartWeights, TaskData
from keras_peterrec.tasks.task_kind import DEFAULT_SPLIT, ExportedAnswers, Metric, TaskKind
from keras_peterrec.types import Json, Layer, Loss

SAMPLED_NEGATIVES = 99
# From so many targets in a training row on, binary cross-entropy is the default loss. Measured on
# both sides only: 1.5 to 2.1 where histories are cut, 10 to 29 where they are whole
# (MovieLens-100K).
MANY_TARGETS = 4.0
# Every epoch weighs the parts anew, with several rankings. About so many rows are enough for it.
WEIGHING_ROWS = 4_096


class Recommendation(TaskKind):
    """Recommends items of a target log, best first.

    Args:
        targets: Vocabulary of the target items, without special ids.
        keep_seen: bool. Whether items of the history are recommended. Defaults to `False`.

    Example:

    >>> kind = Recommendation(Vocabulary(["t1", "t2"], special_ids=False))
    >>> task = build_task(host.backbone, kind.new_head())
    """

    name = "recommendation"
    metric = Metric("ndcg@10", higher_is_better=True)
    shown = ("ndcg@10", "hr@10")
    reads = "target"
    losses = LOSSES
    unit = "score"
    files = ("targets.txt",)
    recommends = True

    def __init__(self, targets: Vocabulary, keep_seen: bool = False) -> None:
        self.targets, self.keep_seen = targets, keep_seen

    def __repr__(self):
        return f"Recommendation({len(self.targets)} items)"

    @property
    def labels(self) -> list[str]:
        return self.targets.items.tolist()

    def new_head(self) -> Layer:
        return RecommenderHead(len(self.targets))

    @classmethod
    def make_data(
        cls,
        source: Events,
        answers: Any,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> TaskData:
        return RecommendationData(source, answers, max_length, settings)

    def save(self, folder: Path) -> Json:
        self.targets.save(folder / "targets.txt")
        return {"target_items": len(self.targets), "keep_seen": self.keep_seen}

    @classmethod
    def load(cls, saved: Json, folder: Path) -> "Recommendation":
        return cls(Vocabulary.load(folder / "targets.txt"), bool(saved["keep_seen"]))

    def recommend(
        self, scores: np.ndarray, k: int, filters: ItemFilters
    ) -> tuple[np.ndarray, np.ndarray]:
        return filters.best(scores, self.targets, k, self.keep_seen)

    def answers(
        self, scores: np.ndarray, items: Sequence[Sequence[str]], k: int
    ) -> dict[str, np.ndarray]:
        best, best_scores = self.recommend(scores, k, ItemFilters.of(items))
        return {"items": best, "scores": best_scores}

    def export_answers(self, name: str, folder: Path, k: int) -> ExportedAnswers:
        items = ItemTable(self.targets, folder / f"{name}_targets.txt")
        return ExportedAnswers(
            answer=lambda scores, seen: items.best(scores, seen, k, self.keep_seen),
            examples=lambda answer: {"classes": answer["items"], "scores": answer["scores"]},
            table=items,
            select=lambda scores, *request: items.selected(scores, k, self.keep_seen, *request),
        )

    def score_rows(self, head: Layer) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(head.item_table, "float32"), np.zeros(head.items, "float32")

    def mixed_count(self, k: int) -> int:
        return k


class RecommendationData(TaskData):
    """Target events of users, each with the source history before it.

    The target events of a row are to be found among the target items that a server can answer with
    then: all of them, without those of the row's history unless seen items are kept. As in papers,
    `filtered_` and `sampled_` look for each target event on its own, without the user's other
    target items; before the moment of a split by time, without those that come before it.

    Args:
        source: Events of the source log.
        target_log: Events.
        max_length: int. Last events of a history that are read.
        settings: SplitSettings; see `recommendation_examples` for `cut_history`.

    Attributes:
        truths_in_history: float. Of the training targets, the share that lies in the history.

    Example:

    >>> data = RecommendationData(sequences, target_log, max_length=12)
    >>> data.baseline("test")["name"]
    'popularity'
    """

    kind: Recommendation

    def __init__(
        self,
        source: Events,
        target_log: Events,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> None:
        asked = settings.split, settings.seed, settings.train_fraction
        parts = split_target_events(target_log, *asked)
        counts = np.bincount(target_log.items[parts == TRAIN], minlength=len(target_log.item_ids))
        # All items of the target log can be recommended; their order is by training counts.
        targets = Vocabulary.from_counts(target_log.item_ids, counts, special_ids=False)
        self.counts = counts[np.argsort(targets.encode(target_log.item_ids))]
        self.known = target_log.encode(targets)
        by_time = is_moment(settings.split)
        self.known_before = events_before(self.known, settings.split) if by_time else None
        self.history = answered_events(source, targets)
        examples = recommendation_examples(
            source, target_log, targets, settings.cut_history, parts, self.history
        )
        empty = np.mean(examples.stops == examples.starts)
        if settings.cut_history and empty > 0.5:
            line(
                f"{empty:.0%} of the target events come before all of their user's history; "
                "where the two logs' clocks differ, use --no-cut-history"
            )
        super().__init__(Recommendation(targets), source, examples, max_length, settings)
        train = self.splits[TRAIN]
        self.truths_in_history = float(are_seen(self.history, train.seen, train.answers).mean())
        self.decides_seen = settings.keep_seen is None
        self._asked_of = {}
        kept = self._keeps_seen() if self.decides_seen else settings.keep_seen
        self.kind.keep_seen = bool(kept)

    def loss(self, name: str | None = None) -> Loss:
        """A new TargetLoss.

        Args:
            name: str or `None`. Defaults to `None`: `"bce"` where a training row has
                `MANY_TARGETS` and more on average, as where histories are whole, else
                `"softmax"`.
        """
        answers = self.splits[TRAIN].answers
        targets = max(1.0, len(answers.items) / len(answers))
        name = name or ("bce" if targets >= MANY_TARGETS else "softmax")
        return TargetLoss(name, events_per_row=targets, seed=self.seed)

    def measure_users(
        self,
        users: np.ndarray,
        head: Layer,
        part: str,
        sampled: bool = False,
        linear: LinearScores | None = None,
        network: float = 1.0,
    ) -> Measured:
        return self._ranked(users, np.asarray(head.item_table), part, sampled, linear)

    def baseline(self, part: str) -> Json:
        table = popularity_table(self.counts)
        return {"name": "popularity", "test": self._ranked(None, table, part, sampled=True)}

    def more_baselines(self, part: str) -> list[Json]:
        """The last item again, where both logs have it, then the targets that followed it."""
        measured = self._ranked_by_last(self._followers(self._same()), part, sampled=True)
        return [{"name": LAST_ITEM, "test": measured}]

    def fit_linear(self, size: int) -> LinearPart:
        def quality(part):
            return self.measure_linear(part, VALIDATION).rows[self.kind.metric.name]

        make, with_fields = functools.partial(self._regression, size=size), None
        same = self._same() if self.kind.keep_seen else None
        if self.features and max(size, len(self.kind.targets)) <= EXACT_UP_TO:
            with_fields = functools.partial(make, features=self.features)
        shares = self._rows().shares(len(self.kind.targets))
        return best_item_regression(make, quality, shares, make_with_fields=with_fields, same=same)

    def measure_linear(self, linear: LinearPart, part: str, sampled: bool = False) -> Measured:
        nothing = np.zeros((len(self.kind.targets), 1), "float32")
        return self._ranked(None, nothing, part, sampled, self.linear_scores(linear, part))

    def refit_linear(self, size: int, linear: dict) -> LinearPart:
        features = self.features if linear.get("fields") else EventFeatures()
        regression = self._regression(Bag(linear["fade"]), size, features)
        shares = self._rows().shares(len(self.kind.targets))
        return regression.solve(linear["penalty"]).as_chosen(linear, self._same(), shares)

    def _rows(self, counted=None):
        train = self.splits[TRAIN]
        histories = self.source.items, train.starts, train.stops
        answers = train.answers.offsets, train.answers.items
        told = train.told, self.user_fields.values
        return Rows(*histories, *answers, *told, counted)

    def _same(self):
        """The target that is the same item as each source item, or -1."""
        return self.kind.targets.encode(self.source.vocabulary.items)

    def _regression(self, bag, size, features=EventFeatures()):
        rows, outputs = self._rows(self.counted(features, size)), len(self.kind.targets)
        return item_regression(bag, rows, size, outputs, features)

    def part_weights(
        self, users: np.ndarray, head: Layer, linear: LinearScores | None = None
    ) -> PartWeights:
        if linear is None:
            return PartWeights()
        table = np.asarray(head.item_table)
        rows, items, offsets, removed, missed = self._asked(VALIDATION)
        some = rows % max(1, len(users) // WEIGHING_ROWS) == 0
        _, owners = np.unique(self.splits[VALIDATION].user_ids[rows[some]], return_inverse=True)

        def gains(weight):
            added = linear.moved(weight) if weight else None
            ranks = full_ranks(users, table, rows[some], items[some], offsets, removed, added=added)
            ranks[missed[some]] = MISSED
            return whole_gains(ranks, owners)

        return PartWeights(linear=best_weight(gains, users, table, linear))

    def _keeps_seen(self):
        """Whether items of the history should be answered, as `keeps_seen` decides it for hosts."""
        if not self.truths_in_history:
            return False
        followers = self._followers(np.full(len(self.source.vocabulary.items), -1))

        def quality(kept):
            self.kind.keep_seen = kept
            return self._ranked_by_last(followers, VALIDATION)[self.kind.metric.name]

        return quality(True) > quality(False)

    def _followers(self, same):
        """LastItemCounts of the training rows, given the target that is each source item."""
        pairs = Pairs(len(same), len(self.kind.targets))
        add_followers(pairs, self._rows())
        return LastItemCounts(pairs.matrix(), self.counts, same)

    def _ranked_by_last(self, counts, part, sampled=False):
        """Metrics of LastItemCounts."""
        split = self.splits[part]
        last = last_items(self.source.items, split.starts, split.stops)
        nothing = np.zeros((len(self.kind.targets), 1), "float32")
        scores = lambda rows: counts.scores(last[np.asarray(rows)])
        ranks_of = lambda *known: counts.ranks(last, *known)
        return self._ranked(None, nothing, part, sampled, linear=scores, ranks_of=ranks_of)

    def _ranked(self, queries, table, part, sampled=False, linear=None, ranks_of=None):
        """Metrics of the scores `queries · tableᵀ + linear`; without queries, of `table` alone."""
        split = self.splits[part]
        if queries is None:
            queries = np.ones((len(split), 1), "float32")
        if ranks_of is None:
            ranks_of = lambda *pairs: full_ranks(queries, table, *pairs, added=linear)
        rows, items, offsets, removed, missed = self._asked(part)
        ranks = ranks_of(rows, items, offsets, removed)
        ranks[missed] = MISSED
        user_ids, users = np.unique(split.user_ids, return_inverse=True)
        beside = None
        if sampled:
            metrics, gains = self._as_in_papers(queries, table, part, linear, ranks_of)
            beside = Measured(metrics, gains, users[split.answers.rows], user_ids=user_ids)
        details = ranking_details(
            (split.starts, split.stops),
            queries,
            table,
            (rows, items),
            self.counts,
            self.kind.targets.items,
            known=lambda row: removed[offsets[row] : offsets[row + 1]],
            added=linear,
        )
        return Measured(
            ranking_metrics(ranks, lists=rows),
            ranking_gains(ranks, lists=rows),
            users,
            user_ids=user_ids,
            details=details,
            beside=beside,
        )

    def _asked(self, part):
        """What is asked of a split: rows and their items, what is removed, what is never found.

        Returns:
            tuple of int arrays: rows and items `[P]`, each pair once; `known_offsets` and
            `known_items` of `full_ranks`; and bool `[P]`, which items are removed themselves.
        """
        key = part, self.kind.keep_seen
        if key not in self._asked_of:
            split, size = self.splits[part], len(self.kind.targets)
            pairs = distinct_pairs(split.answers.rows, split.answers.items, size)
            seen = np.zeros_like(split.seen) if self.kind.keep_seen else split.seen
            removed = distinct_items(self.history.items, seen[:, 0], seen[:, 1])
            self._asked_of[key] = *pairs, *removed, among_known(*pairs, *removed)
        return self._asked_of[key]

    def _as_in_papers(self, queries, table, part, linear, ranks_of):
        """Metrics and gains of each target event, without the user's other target items."""
        split = self.splits[part]
        owners = self.known.index(split.user_ids)
        lengths = self.known.lengths[owners]
        if self.known_before is not None and part != TEST:
            lengths = self.known_before[owners]
        others = np.concatenate([self.known[owner][:n] for owner, n in zip(owners, lengths)])
        pairs = split.answers.rows, split.answers.items
        known = np.concatenate([[0], np.cumsum(lengths)]), others
        drawn = {"negatives": SAMPLED_NEGATIVES, "seed": self.seed}
        metrics, gains = {}, {}
        for prefix, ks, ranks in (
            ("filtered_", (5, 10, 20), ranks_of(*pairs, *known)),
            (
                "sampled_",
                (5,),
                sampled_ranks(queries, table, *pairs, *known, **drawn, added=linear),
            ),
        ):
            metrics |= ranking_metrics(ranks, ks, prefix)
            gains |= ranking_gains(ranks, ks, prefix)
        return metrics, gains

    def doubts(self) -> list[str]:
        """What follows for seen items from the targets in the histories."""
        said = what_is_seen(self.summary()) if self.decides_seen else None
        return [] if said is None else [said]

    def summary(self) -> Json:
        splits = self.splits.values()
        return {
            **super().summary(),
            "rows_with_empty_history": int(sum((s.stops == s.starts).sum() for s in splits)),
            "target_items": len(self.kind.targets),
            "target_events": sum(len(split.answers.items) for split in splits),
            "truths_in_history": round(self.truths_in_history, 6),
            "keep_seen": self.kind.keep_seen,
        }
