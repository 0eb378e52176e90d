"""A recommendation task's data: examples, splits, metrics, baseline."""

import sys

import numpy as np

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.splits import TRAIN, split_users
from keras_peterrec.data.task_examples import recommendation_examples
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import Misfit
from keras_peterrec.metrics import full_ranks, popularity_table, ranking_metrics, sampled_ranks
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.models.target_loss import TargetLoss
from keras_peterrec.runs.inference import outputs_of

SAMPLED_NEGATIVES = 99
# Targets of a training row from which on binary cross-entropy is taken. Measured on either side
# alone: 1.5 to 2.1 where histories are cut, 10 to 29 where they are whole (MovieLens-100K).
MANY_EVENTS = 4.0


class RecommendationData:
    """Recommending items of a target log to users who are new there.

    Every target event of a test user is to be found among all target items, his
    other target items removed.

    Args:
        source: Sequences of the source log.
        target_log: Log.
        max_length: int.
        seed: int. Of the split.
        train_fraction: float. See `split_users`.
        cut_history: bool. See `recommendation_examples`.
    """

    kind = "recommend"
    monitor, mode = "val_ndcg@10", "max"

    def __init__(
        self, source, target_log, max_length, seed=0, train_fraction=1.0, cut_history=True
    ):
        self.source, self.max_length, self.seed = source, max_length, seed
        users = split_users(target_log.user_ids, seed, train_fraction)
        counts = np.bincount(
            target_log.items[users[target_log.users] == TRAIN], minlength=len(target_log.item_ids)
        )
        # The catalogue is the whole target log's; its order is that of training.
        self.targets = Vocabulary.from_counts(target_log.item_ids, counts, special_ids=False)
        self.counts = counts[np.argsort(self.targets.encode(target_log.item_ids))]
        self.known = Sequences(target_log, self.targets)
        examples = recommendation_examples(source, target_log, self.targets, cut_history)
        self.dropped_users = examples.dropped_users
        split = split_users(examples.user_ids, seed, train_fraction)
        self.splits = [examples.select(split == part) for part in range(3)]
        self.classes = None
        empty = np.mean(examples.stops == examples.starts)
        if cut_history and empty > 0.5:
            print(
                f"{empty:.0%} of the target events come before all of their user's history; "
                "where the two logs' clocks differ, use --no-cut-history",
                file=sys.stderr,
            )
        require_all(self.splits, "target")

    def head(self):
        """A new head for this task."""
        return RecommenderHead(len(self.targets))

    def loss(self, kind=None):
        """A new loss; see `TargetLoss`.

        Args:
            kind: str or `None`. Defaults to `None`, `"bce"` where a training row has
                `MANY_EVENTS` and more on average, as where histories are whole, else
                `"softmax"`.
        """
        answers = self.splits[TRAIN].answers
        events = float(max(1.0, (answers >= 0).sum() / len(answers)))
        kind = kind or ("bce" if events >= MANY_EVENTS else "softmax")
        return TargetLoss(kind, events_per_row=events, seed=self.seed)

    def states(self, model, part):
        """Users' states `[E, C]` of a task model on a split."""
        return split_outputs(self, model.user_states, part)

    def measure(self, model, part, sampled=False):
        """Metrics of a task model on a split; sampled ones as well if asked."""
        return self.measure_states(self.states(model, part), model.head, part, sampled)

    def measure_states(self, users, head, part, sampled=False):
        """Metrics of users' states, already computed, and a head on a split."""
        return self.rank(users, np.asarray(head.item_table), part, sampled)

    def baseline(self, part):
        """Metrics of ranking by popularity among the training users."""
        ones = np.ones((len(self.splits[part]), 1), "float32")
        return {
            "name": "popularity",
            "test": self.rank(ones, popularity_table(self.counts), part, sampled=True),
        }

    def rank(self, queries, table, part, sampled=False):
        """Metrics of scores `queries · tableᵀ`, one query for each example."""
        split = self.splits[part]
        row, place = np.nonzero(split.answers >= 0)
        owners = self.known.index(split.user_ids)
        lengths = self.known.lengths[owners]
        known = np.concatenate([self.known[owner] for owner in owners])
        arguments = (
            queries,
            table,
            row,
            split.answers[row, place],
            np.concatenate([[0], np.cumsum(lengths)]),
            known,
        )
        metrics = ranking_metrics(full_ranks(*arguments))
        if sampled:
            ranks = sampled_ranks(*arguments, negatives=SAMPLED_NEGATIVES, seed=self.seed)
            metrics.update(ranking_metrics(ranks, ks=(5,), prefix="sampled_"))
        return metrics

    def summary(self):
        """Sizes, for `metrics.json`."""
        users = [len(set(split.user_ids)) for split in self.splits]
        return {
            "users": sum(users),
            "users_train_validation_test": users,
            "users_without_history": self.dropped_users,
            "rows_with_empty_history": int(sum((s.stops == s.starts).sum() for s in self.splits)),
            "target_items": len(self.targets),
            "target_events": int(sum((split.answers >= 0).sum() for split in self.splits)),
        }


def split_outputs(data, forward, part):
    """What a function of histories, `[E, L]` to `[E, N]`, gives for a split of a task's data."""
    split = data.splits[part]
    return outputs_of(forward, data.source.items, split.starts, split.stops, data.max_length)


def require_all(splits, argument):
    """Refuses data of which a split is empty."""
    sizes = [len(split) for split in splits]
    if 0 in sizes:
        raise Misfit(
            f"`{argument}` should have enough users with a source history for training, "
            f"validation and test. Received: {sizes} rows."
        )
