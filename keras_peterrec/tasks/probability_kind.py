"""What classification and multilabel share: their answers are probabilities of named labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.tasks.task_kind import ExportedAnswers, Metric, TaskKind
from keras_peterrec.types import Json, Layer

SHOWN = 3  # labels of a user in `examples`


class ProbabilityKind(TaskKind):
    """The base of kinds that answer with all labels by falling probability.

    A kind says in `normalized` how scores become probabilities, and in `mixed_scores` the same in
    TensorFlow.

    Args:
        labels: sequence of str.

    Class attributes:
        output: str. What the labels are called in an answer and in a bundle.
    """

    output: ClassVar[str]
    metric = Metric("log_loss", higher_is_better=False)
    unit = "probability"
    linear_name = "logistic regression"

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = list(labels)

    def __repr__(self):
        return f"{type(self).__name__}({self._labels})"

    @property
    def labels(self) -> list[str]:
        return self._labels

    def new_head(self) -> Layer:
        return LinearHead(len(self.labels))

    def save(self, folder: Path) -> Json:
        return {self.output: self.labels}

    @classmethod
    def load(cls, saved: Json, folder: Path) -> Self:
        return cls(saved[cls.output])

    @staticmethod
    def normalized(scores: np.ndarray) -> np.ndarray:
        """Probabilities, float64 `[B, n]`, of scores `[B, n]`."""
        raise NotImplementedError

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        return self.normalized(np.asarray(scores, "float64")).astype("float32")

    def answers(
        self, scores: np.ndarray, items: Sequence[Sequence[str]], k: int
    ) -> dict[str, np.ndarray]:
        probabilities = self.probabilities(scores)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return {
            self.output: np.array(self.labels, object)[order],
            "scores": np.take_along_axis(probabilities, order, axis=1),
        }

    def export_answers(self, name: str, folder: Path, k: int) -> ExportedAnswers:
        import tensorflow as tf

        def answer(scores, seen):
            scores, order = tf.math.top_k(self.mixed_scores(scores), len(self.labels))
            return {self.output: tf.gather(tf.constant(self.labels), order), "scores": scores}

        # `:classify` calls labels classes.
        examples = lambda answer: {"classes": answer[self.output], "scores": answer["scores"]}
        return ExportedAnswers(answer, examples)

    def best(self, outputs: np.ndarray) -> list[list[list[Any]]]:
        """The most probable labels of each row of scores, and their probabilities."""
        probabilities = self.normalized(outputs)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :SHOWN]
        return [
            [[self.labels[n], float(row[n])] for n in of_row]
            for row, of_row in zip(probabilities, best)
        ]
