"""Regression: one number of each user, such as spend or age in years."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_peterrec.errors import InputError, Misfit, refuse
from keras_peterrec.log.event_split import TRAIN
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.task_examples import label_examples
from keras_peterrec.log.user_splits import split_users
from keras_peterrec.metrics import regression_metrics
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.tasks.label_data import LabelData
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.tasks.task_kind import DEFAULT_SPLIT, ExportedAnswers, Metric, TaskKind
from keras_peterrec.types import Json, Layer, Loss


class Regression(TaskKind):
    """Gives one number for each user.

    The head answers in standard deviations from the training users' mean; both are kept with the
    task, and every answer is in the units of the column.

        y = mean + deviation · z

    Args:
        column: str. What the number is, such as `"spend"`.
        mean: float. Mean of the training users' numbers. Defaults to `0.0`.
        deviation: float. Their standard deviation. Defaults to `1.0`.

    Example:

    >>> Regression("spend", mean=40.0, deviation=10.0).values(np.ones((1, 1))).tolist()
    [50.0]
    """

    name = "regression"
    metric = Metric("rmse", higher_is_better=False, root_of="squared_error")
    shown = ("rmse", "mae", "r2")
    losses = ("squared", "huber")
    unit = "number"
    has_units = True
    example_suffix = "_regress"

    def __init__(self, column: str, mean: float = 0.0, deviation: float = 1.0) -> None:
        self.column, self.mean, self.deviation = column, float(mean), float(deviation)

    def __repr__(self):
        return f"Regression({self.column!r}, mean={self.mean:g}, deviation={self.deviation:g})"

    def __eq__(self, other):
        return super().__eq__(other) and vars(self) == vars(other)

    @property
    def labels(self) -> list[str]:
        return [self.column]

    def new_head(self) -> Layer:
        return LinearHead(1)

    def start_head(self, head: Layer, arrays: dict, earlier: Any) -> None:
        super().start_head(head, arrays, earlier)
        # The same numbers in other standard units.
        scale = earlier.deviation / self.deviation
        head.kernel.assign(scale * head.kernel)
        head.bias.assign(scale * head.bias + (earlier.mean - self.mean) / self.deviation)

    @classmethod
    def make_data(
        cls,
        source: Events,
        answers: Any,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> TaskData:
        return RegressionData(source, answers, max_length, settings)

    def save(self, folder: Path) -> Json:
        return {"column": self.column, "mean": self.mean, "deviation": self.deviation}

    @classmethod
    def load(cls, saved: Json, folder: Path) -> "Regression":
        return cls(saved["column"], saved["mean"], saved["deviation"])

    def values(self, scores: np.ndarray) -> np.ndarray:
        return (self.mean + self.deviation * np.asarray(scores, "float64")[:, 0]).astype("float32")

    def answers(
        self, scores: np.ndarray, items: Sequence[Sequence[str]], k: int
    ) -> dict[str, np.ndarray]:
        return {"value": self.values(scores)}

    def export_answers(self, name: str, folder: Path, k: int) -> ExportedAnswers:
        return ExportedAnswers(
            answer=lambda scores, seen: {"value": self.mean + self.deviation * scores[:, 0]},
            examples=lambda answer: {"outputs": answer["value"]},
        )

    @property
    def score_scale(self) -> float:
        return self.deviation

    def score_rows(self, head: Layer) -> tuple[np.ndarray, np.ndarray]:
        rows, bias = super().score_rows(head)
        return self.deviation * rows, self.mean + self.deviation * bias


class RegressionData(LabelData):
    """Users with a number each and their source histories; answers are standardised.

    Args:
        source: Events of the source log.
        labels: Labels that are finite numbers, one for each user.
        max_length: int. Last events of a history that are read.
        settings: SplitSettings, of which it reads `seed` and `train_fraction`.

    Raises:
        InputError: a label is no finite number.
        Misfit: all training users have the same number.

    Example:

    >>> RegressionData(sequences, numbers, max_length=12).kind.column
    'age'
    """

    kind: Regression

    def __init__(
        self,
        source: Events,
        labels: Labels,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> None:
        users, values = labels.one_each()
        examples = label_examples(source, users, _numbers(values, labels.column))
        split = split_users(examples.user_ids, settings.seed, settings.train_fraction)
        numbers = np.asarray(examples.answers)
        of_training = numbers[split == TRAIN]
        mean = of_training.mean() if len(of_training) else 0.0
        deviation = of_training.std() if len(of_training) else 1.0
        if deviation == 0.0:
            raise Misfit(
                f"`{labels.column}` should differ among the training users. "
                f"Received: {mean:g} for each of {len(of_training)}."
            )
        kind = Regression(labels.column, mean, deviation)
        standardised = ((numbers - mean) / deviation).astype("float32")[:, None]
        examples = examples.replace(answers=standardised)
        super().__init__(kind, source, examples, max_length, settings)

    def start(self) -> np.ndarray:
        return np.zeros(1)  # the mean

    def loss(self, name: str | None = None) -> Loss:
        """Squared error (the default), or Huber's loss, which outliers pull less.

        Huber's loss becomes linear one standard deviation from the truth.
        """
        return keras.losses.Huber() if name == "huber" else keras.losses.MeanSquaredError()

    def losses_and_gradient(
        self, outputs: np.ndarray, answers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        errors = outputs - answers
        return np.sum(errors**2, axis=1) / 2, errors

    def parts(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        errors = self.kind.deviation * (outputs - answers)
        return {self.kind.metric.part: np.sum(errors**2, axis=1)}

    def metrics(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        return regression_metrics(self._in_units(outputs), self._in_units(answers))

    def details(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        return {"value": self._in_units(outputs), "truth": self._in_units(answers)}

    def examples(self, outputs: np.ndarray, answers: np.ndarray) -> list[Json]:
        pairs = zip(self._in_units(outputs), self._in_units(answers))
        return [{"truth": [f"{y:g}"], "answer": [[self.kind.column, found]]} for found, y in pairs]

    def _in_units(self, standardised):
        """Outputs or answers `[E, 1]` in the units of the column, float64 `[E]`."""
        return self.kind.mean + self.kind.deviation * np.asarray(standardised, "float64")[:, 0]

    def baseline(self, part: str) -> Json:
        answers = self.splits[part].answers
        return {"name": "mean", "test": self.metrics(np.zeros(answers.shape), answers)}

    def summary(self) -> Json:
        return {**super().summary(), "mean": self.kind.mean, "deviation": self.kind.deviation}

    def answer_as(self, kind: Any) -> None:
        before = self.kind
        super().answer_as(kind)
        # Other users have another mean: the truths stay, their standard units change.
        for part, split in self.splits.items():
            numbers = before.mean + before.deviation * split.answers
            self.splits[part] = split.replace(answers=(numbers - kind.mean) / kind.deviation)


def _numbers(values, column):
    try:
        numbers = values.astype("float64")
    except ValueError as error:
        raise InputError(
            f"`{column}` should be numbers for the kind regression. Received: {error}."
        ) from error
    if not np.isfinite(numbers).all():
        refuse(column, "finite numbers for the kind regression", values[~np.isfinite(numbers)][0])
    return numbers
