"""A classification task's data: examples, splits, metrics, baseline."""

import keras
import numpy as np

from keras_peterrec.data.splits import TRAIN, VALIDATION, split_users
from keras_peterrec.data.task_examples import label_examples
from keras_peterrec.distribution.devices import Devices
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
        start = keras.initializers.Constant(self._log_shares().tolist())
        return ClassifierHead(len(self.classes), bias_initializer=start)

    def _log_shares(self):
        counts = np.bincount(self.splits[TRAIN].answers, minlength=len(self.classes))
        return np.log((counts + 0.5) / (counts + 0.5).sum())  # no class is impossible

    def loss(self):
        """A new loss."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def calibrate(self, model):
        """Takes a trained model's logits z as far back to the log shares b as validation asks.

            z' = b + a (z - b),   a = argmin of the validation users' log-loss over (0, 1]

        The moment at which training is stopped is the best for the validation users, and for
        others it is late: there, probabilities are too sure of themselves.

        Args:
            model: TaskModel. Its head is changed.

        Returns:
            float, a.

        Source: temperature scaling, Guo et al., "On Calibration of Modern Neural Networks",
        ICML 2017, section 4.2; theirs goes to equal shares, and may sharpen.
        """
        shares, answers = self._log_shares(), self.splits[VALIDATION].answers

        def best_scale():
            moved = np.asarray(model.head(self.states(model, VALIDATION)), "float64") - shares
            scales = np.arange(1, 101) / 100  # none is 0, which would lose the order of users
            return min(scales, key=lambda scale: _log_loss(shares + scale * moved, answers))

        scale = float(Devices.of(model).on_chief(best_scale))
        model.head.shrink(scale, shares)
        return scale

    def states(self, model, part):
        """Users' states `[E, C]` of a task model on a split."""
        return split_outputs(self, model.user_states, part)

    def measure(self, model, part, sampled=False):
        """Metrics of a task model on a split."""
        return self.measure_states(self.states(model, part), model.head, part, sampled)

    def measure_states(self, users, head, part, sampled=False):
        """Metrics of users' states, already computed, and a head on a split."""
        probabilities = np.exp(_log_probabilities(np.asarray(head(users), "float64")))
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


def _log_loss(logits, answers):
    return -np.mean(np.take_along_axis(_log_probabilities(logits), answers[:, None], axis=1))


def _log_probabilities(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
