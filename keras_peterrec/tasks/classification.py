"""Classification: one class of each user, such as gender, age group or life stage."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_peterrec.log.event_split import TRAIN
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.task_examples import label_examples
from keras_peterrec.metrics import (
    UNIFORM,
    classification_metrics,
    majority_probabilities,
    uniform_probabilities,
)
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.label_data import LabelData
from keras_peterrec.tasks.label_doubts import class_doubts
from keras_peterrec.tasks.probability_kind import ProbabilityKind
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.tasks.task_kind import DEFAULT_SPLIT, Metric
from keras_peterrec.types import Json, Loss, Tensor

# The log-loss of users who are weighed so that every class counts the same.
BALANCED = Metric("balanced_log_loss", higher_is_better=False)


class Classification(ProbabilityKind):
    """Gives the probabilities of classes, of which each user has one.

    Args:
        labels: sequence of str, the classes.

    Example:

    >>> Classification(["F", "M"]).probabilities(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    name = "classification"
    output = "classes"
    shown = ("log_loss", "accuracy")
    class_weights = ("balanced",)

    @classmethod
    def make_data(
        cls,
        source: Events,
        answers: Any,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> TaskData:
        return ClassificationData(source, answers, max_length, settings)

    @staticmethod
    def normalized(scores: np.ndarray) -> np.ndarray:
        return np.exp(_log_probabilities(scores))

    @staticmethod
    def mixed_scores(scores: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.nn.softmax(scores)


class ClassificationData(LabelData):
    """Labelled users with their source histories.

    Args:
        source: Events of the source log.
        labels: Labels, one for each user.
        max_length: int. Last events of a history that are read.
        settings: SplitSettings, of which it reads `seed` and `train_fraction`, and `class_weight`
            where there is one: with `"balanced"` all that is trained and chosen is so by the
            balanced log-loss, in which every class counts the same.

    Example:

    >>> data = ClassificationData(sequences, labels, max_length=12)
    >>> sorted(data.splits)
    ['test', 'train', 'validation']
    """

    kind: Classification

    def __init__(
        self,
        source: Events,
        labels: Labels,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> None:
        users, values = labels.one_each()
        classes = labels.order(values)
        place = {name: n for n, name in enumerate(classes)}
        answers = np.array([place[value] for value in values], "int32")
        examples = label_examples(source, users, answers)
        super().__init__(Classification(classes), source, examples, max_length, settings)
        counts = np.bincount(self.splits[TRAIN].answers, minlength=len(classes))
        self.counts = counts + 0.5  # no class is impossible
        self.weights = np.ones(len(classes))
        self.balanced = getattr(settings, "class_weight", None) == "balanced"
        if self.balanced:
            self.kind.metric = BALANCED
            self.weights = counts.sum() / (len(classes) * self.counts)

    def start(self) -> np.ndarray:
        shares = self.counts * self.weights
        return np.log(shares / shares.sum())

    def loss(self, name: str | None = None) -> Loss:
        if self.balanced:
            return WeighedCrossentropy(self.weights.tolist())
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def losses_and_gradient(
        self, outputs: np.ndarray, answers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        logs = _log_probabilities(outputs)
        of_truth = np.take_along_axis(logs, answers[:, None], axis=1)
        gradient = np.exp(logs)
        gradient[np.arange(len(answers)), answers] -= 1.0
        weights = self.weights[answers]
        return -weights * of_truth[:, 0], weights[:, None] * gradient

    def metrics(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        return self._of(self.kind.normalized(outputs), answers)

    def details(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = self.kind.probabilities(outputs)
        labels = np.array(self.kind.labels, str)
        return {"labels": labels, "class": answers, "probabilities": probabilities}

    def examples(self, outputs: np.ndarray, answers: np.ndarray) -> list[Json]:
        names = [self.kind.labels[answer] for answer in answers]
        best = self.kind.best(outputs)
        return [{"truth": [name], "answer": answer} for name, answer in zip(names, best)]

    def baseline(self, part: str) -> Json:
        split, count = self.splits[part], len(self.kind.labels)
        shares = majority_probabilities(self.splits[TRAIN].answers, count, len(split))
        return {"name": "majority", "test": self._of(shares, split.answers)}

    def more_baselines(self, part: str) -> list[Json]:
        split, count = self.splits[part], len(self.kind.labels)
        measured = self._of(uniform_probabilities(count, len(split)), split.answers)
        # A tie counts as wrong. Here every row is one, so these are what a class at random gets:
        # a precision of the class's share and a recall of 1 / count.
        shares = np.bincount(split.answers, minlength=count) / len(split)
        measured["accuracy"] = 1 / count
        measured["macro_f1"] = float(np.mean(2 * shares / (count * shares + 1)))
        return [{"name": UNIFORM, "test": measured}]

    def doubts(self) -> list[str]:
        answers = np.concatenate([split.answers for split in self.splits.values()])
        counts = np.bincount(answers, minlength=len(self.kind.labels))
        return class_doubts(self.kind.labels, counts)

    def _of(self, probabilities, answers):
        """The metrics of probabilities, `[E, n]`."""
        measured = classification_metrics(probabilities, answers, len(self.kind.labels))
        if self.balanced:
            of_truth = np.maximum(probabilities[np.arange(len(answers)), answers], 1e-12)
            measured[BALANCED.name] = float(np.mean(-self.weights[answers] * np.log(of_truth)))
        return measured

    def summary(self) -> Json:
        return {**super().summary(), "classes": self.kind.labels}


class WeighedCrossentropy(keras.losses.Loss):
    """The cross-entropy of logits, each row weighed by its class.

    Args:
        weights: list of float, one a class.
    """

    def __init__(self, weights: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weights = list(weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        loss = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        classes = keras.ops.reshape(keras.ops.cast(y_true, "int32"), keras.ops.shape(loss))
        return keras.ops.take(keras.ops.array(self.weights, loss.dtype), classes) * loss

    def get_config(self) -> Json:
        return {**super().get_config(), "weights": self.weights}


def _log_probabilities(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
