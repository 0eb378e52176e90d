"""Several labels of each user, such as topics of interest."""

from typing import Any

import keras
import numpy as np

from keras_peterrec.log.event_split import TRAIN
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.task_examples import label_examples
from keras_peterrec.metrics import label_shares, multilabel_metrics
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.label_data import LabelData
from keras_peterrec.tasks.label_doubts import class_doubts
from keras_peterrec.tasks.probability_kind import ProbabilityKind
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.tasks.task_kind import DEFAULT_SPLIT
from keras_peterrec.types import Json, Loss, Tensor


class Multilabel(ProbabilityKind):
    """Gives the probability of every label; a user may have any number of them.

    Args:
        labels: sequence of str.

    Example:

    >>> Multilabel(["news", "films"]).probabilities(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    name = "multilabel"
    output = "labels"
    shown = ("log_loss", "macro_auc", "map")

    @classmethod
    def make_data(
        cls,
        source: Events,
        answers: Any,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> TaskData:
        return MultilabelData(source, answers, max_length, settings)

    @staticmethod
    def normalized(scores: np.ndarray) -> np.ndarray:
        return _sigmoid(scores)

    @staticmethod
    def mixed_scores(scores: Tensor) -> Tensor:
        import tensorflow as tf

        return tf.sigmoid(scores)


class MultilabelData(LabelData):
    """Users with a set of labels and their source histories.

    Args:
        source: Events of the source log.
        labels: Labels: cells such as `sports|news`, several rows for a user, or both.
        max_length: int. Last events of a history that are read.
        settings: SplitSettings, of which it reads `seed` and `train_fraction`.

    Example:

    >>> MultilabelData(sequences, labels, max_length=12).kind.name
    'multilabel'
    """

    kind: Multilabel

    def __init__(
        self,
        source: Events,
        labels: Labels,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> None:
        users, sets = labels.sets()
        names = labels.order(set().union(*sets))
        place = {name: n for n, name in enumerate(names)}
        answers = np.zeros((len(users), len(names)), "float32")
        for row, of_user in enumerate(sets):
            answers[row, [place[name] for name in of_user]] = 1.0
        examples = label_examples(source, users, answers)
        super().__init__(Multilabel(names), source, examples, max_length, settings)

    def start(self) -> np.ndarray:
        answers = self.splits[TRAIN].answers
        # Log odds of the labels' shares, of which none is 0 or 1.
        have = answers.sum(axis=0, dtype="float64") + 0.5
        return np.log(have / (len(answers) + 1.0 - have))

    def loss(self, name: str | None = None) -> Loss:
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def losses_and_gradient(
        self, outputs: np.ndarray, answers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        # log(1 + e^z) - y z, without overflow for large z.
        losses = np.logaddexp(0.0, outputs) - answers * outputs
        return losses.sum(axis=1), _sigmoid(outputs) - answers

    def parts(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        losses, _ = self.losses_and_gradient(outputs, answers)
        return {self.kind.metric.part: losses / len(self.kind.labels)}

    def metrics(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        return multilabel_metrics(self.kind.normalized(outputs), answers)

    def details(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        labels = np.array(self.kind.labels, str)
        probabilities = self.kind.probabilities(outputs)
        return {"labels": labels, "has": answers > 0, "probabilities": probabilities}

    def examples(self, outputs: np.ndarray, answers: np.ndarray) -> list[Json]:
        names = [[self.kind.labels[n] for n in np.flatnonzero(row)] for row in answers]
        best = self.kind.best(outputs)
        return [{"truth": truth, "answer": answer} for truth, answer in zip(names, best)]

    def baseline(self, part: str) -> Json:
        answers = self.splits[part].answers
        shares = label_shares(self.splits[TRAIN].answers, len(answers))
        return {"name": "prior", "test": multilabel_metrics(shares, answers)}

    def doubts(self) -> list[str]:
        counts = sum(split.answers.sum(axis=0) for split in self.splits.values())
        return class_doubts(self.kind.labels, counts)

    def summary(self) -> Json:
        return {**super().summary(), "labels": self.kind.labels}


def _sigmoid(z):
    return np.exp(-np.logaddexp(0.0, -z))
