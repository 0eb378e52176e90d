"""A classification task's data: examples, splits, metrics, baseline."""

import keras
import numpy as np

from keras_peterrec.data.splits import TRAIN, split_users
from keras_peterrec.data.task_examples import label_examples
from keras_peterrec.metrics import classification_metrics, majority_probabilities
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.runs.recommendation import require_all, split_outputs


class ClassificationData:
    """Guessing a label of users from their source history.

    Args:
        source: Sequences of the source log.
        labels: Labels.
        max_length: int.
        seed: int. Of the split.
        train_fraction: float. See `split_users`.
    """

    kind = "classify"
    monitor, mode = "val_log_loss", "min"

    def __init__(self, source, labels, max_length, seed=0, train_fraction=1.0):
        self.source, self.max_length = source, max_length
        self.classes = list(labels.classes)
        self.targets = None
        examples = label_examples(source, labels)
        self.dropped_users = examples.dropped_users
        split = split_users(examples.user_ids, seed, train_fraction)
        self.splits = [examples.select(split == part) for part in range(3)]
        require_all(self.splits, "labels")

    def head(self):
        """A new head for this task, which starts with the training shares of the classes."""
        counts = np.bincount(self.splits[TRAIN].answers, minlength=len(self.classes))
        shares = (counts + 0.5) / (counts + 0.5).sum()  # no class is impossible
        start = keras.initializers.Constant(np.log(shares).tolist())
        return ClassifierHead(len(self.classes), bias_initializer=start)

    def loss(self):
        """A new loss."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def states(self, model, part):
        """Users' states `[E, C]` of a task model on a split."""
        return split_outputs(self, model.user_states, part)

    def measure(self, model, part, sampled=False):
        """Metrics of a task model on a split."""
        return self.measure_states(self.states(model, part), model.head, part, sampled)

    def measure_states(self, users, head, part, sampled=False):
        """Metrics of users' states, already computed, and a head on a split."""
        logits = np.asarray(head(users), "float64")
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        return classification_metrics(probabilities, self.splits[part].answers, len(self.classes))

    def baseline(self, part):
        """Metrics of always giving the training shares of the classes."""
        split, count = self.splits[part], len(self.classes)
        shares = majority_probabilities(self.splits[TRAIN].answers, count, len(split))
        return {
            "name": "majority",
            "test": classification_metrics(shares, split.answers, count),
        }

    def summary(self):
        """Sizes, for `metrics.json`."""
        users = [len(split) for split in self.splits]
        return {
            "users": sum(users),
            "users_train_validation_test": users,
            "users_without_history": self.dropped_users,
            "classes": self.classes,
        }
