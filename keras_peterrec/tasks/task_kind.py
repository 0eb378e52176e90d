"""What a kind of task has to say: its metric, head, data, bundle and answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.heads import start_outputs
from keras_peterrec.tasks.item_filters import ItemFilters
from keras_peterrec.types import Json, Layer, Tensor

DEFAULT_SPLIT = SplitSettings()


@dataclass(frozen=True)
class Metric:
    """A metric and which way is better.

    Args:
        name: str. A key of what `TaskData.measure` returns.
        higher_is_better: bool.
        root_of: str or `None`. What each row adds to a mean whose square root the metric is;
            `None` where the metric is the mean itself. Defaults to `None`.

    Example:

    >>> Metric("rmse", higher_is_better=False).is_better(1.0, 2.0)
    True
    """

    name: str
    higher_is_better: bool
    root_of: str | None = None

    @property
    def monitor(self) -> str:
        """What Keras' logs call it for the validation users."""
        return f"val_{self.name}"

    @property
    def mode(self) -> str:
        """`"max"` or `"min"`, as Keras' callbacks take it."""
        return "max" if self.higher_is_better else "min"

    @property
    def part(self) -> str:
        """What a row's part of the metric is called among `Measured.rows`."""
        return self.root_of or self.name

    def described(self) -> Json:
        """What `metrics.json` says of it, under `decides`."""
        return {
            "name": self.name,
            "higher_is_better": self.higher_is_better,
            "root_of": self.root_of,
        }

    def of_means(self, means: np.ndarray) -> np.ndarray:
        """The metric, from means over rows of their `part`."""
        return np.sqrt(means) if self.root_of else means

    def is_better(self, value: float, other: float) -> bool:
        """Whether `value` is better than `other`."""
        return value > other if self.higher_is_better else value < other

    def log_quality(self, value: float) -> float:
        """`log(value)`, or `-log(value)` where lower is better.

        Its mean over tasks counts a change by one per cent the same in every metric, whatever its
        units; only for metrics that are never negative.
        """
        return (1.0 if self.higher_is_better else -1.0) * math.log(max(value, 1e-12))


class TaskKind:
    """The base of all kinds of task: what a task's scores mean, and all that follows from it.

    An object of a kind belongs to one task and holds what its answers are made of, such as the
    target items or the classes; it is what `Task.kind` holds and the task bundle saves. A kind is
    one file in `tasks/`, its data (a subclass of TaskData) included, and one line of the registry.
    Nothing outside `tasks/` asks which kind a task is.

    Class attributes:
        name: str. In `--kind`, `task.json` and `metrics.json`.
        metric: Metric. It decides: when training stops, which penalty a linear model gets, what
            tables and plots show first.
        shown: tuple of str. Metrics for tables, the deciding one first.
        reads: str. `"target"` (a target log) or `"labels"` (a column of labels).
        losses: tuple of str. What `--loss` takes, the default first; `()` for one loss alone.
        class_weights: tuple of str. What `--class-weight` takes; `()` where there are no classes.
        unit: str. What the numbers in an answer are: `"score"` (a logit), `"probability"` or
            `"number"`.
        linear_name: str. What its linear part alone is called as a baseline.
        files: tuple of str. What `save` writes into a bundle.
        has_units: bool. Whether its metrics are in the units of the answers, such as euros, so that
            a mean over several tasks says nothing.
        recommends: bool. Whether its labels are items, which a history may hold as well.
        keep_seen: bool. Whether answers may have items of the history, where it `recommends`.
        example_suffix: str. Under which name the signature for `tf.Example` is exported:
            `"_classify"` or `"_regress"`, after the REST call that finds it.

    Example:

    >>> isinstance(Classification(["F", "M"]), TaskKind)
    True
    """

    name: ClassVar[str]
    metric: Metric
    shown: ClassVar[tuple]
    reads: ClassVar[str] = "labels"
    losses: ClassVar[tuple] = ()
    class_weights: ClassVar[tuple] = ()
    unit: ClassVar[str]
    linear_name: ClassVar[str] = "ridge"
    files: ClassVar[tuple] = ()
    has_units: ClassVar[bool] = False
    recommends: ClassVar[bool] = False
    keep_seen: bool = True
    example_suffix: ClassVar[str] = "_classify"

    def __eq__(self, other):
        """Whether the same scores are the same answers."""
        return type(self) is type(other) and self.labels == other.labels

    # What the scores are of.

    @property
    def labels(self) -> list[str]:
        """What each of the scores is of, in their order: list of str."""
        raise NotImplementedError

    def new_head(self) -> Layer:
        """A new head, a Layer from users `[B, C]` to scores `[B, len(labels)]`.

        Layers inside it need names of their own: a bundle holds the weights by path.
        """
        raise NotImplementedError

    def start_head(self, head: Layer, arrays: dict, earlier: "TaskKind") -> None:
        """Gives a new head what an earlier task of this kind knew; see `start_outputs`.

        Args:
            head: Layer, of `new_head`.
            arrays: the earlier head's weights by path, in a bundle.
            earlier: TaskKind of the earlier task.
        """
        start_outputs(head, self.labels, arrays, earlier.labels)

    # Data.

    @classmethod
    def make_data(
        cls,
        source: Events,
        answers: Any,
        max_length: int,
        settings: SplitSettings = DEFAULT_SPLIT,
    ) -> Any:
        """The task's rows, a TaskData, split into training, validation and test.

        Args:
            source: Events of the source log.
            answers: Events (a target log) or Labels, as `reads` says.
            max_length: int. Last events of a history that are read.
            settings: SplitSettings.
        """
        raise NotImplementedError

    # The bundle.

    def save(self, folder: Path) -> Json:
        """Writes what needs files of its own into a bundle; returns the rest, JSON values."""
        raise NotImplementedError

    @classmethod
    def load(cls, saved: dict, folder: Path) -> "TaskKind":
        """What `save` wrote and returned, as an object."""
        raise NotImplementedError

    # Answers in Python. Scores are those of the head, float32 `[B, len(labels)]`.

    def recommend(
        self,
        scores: np.ndarray,
        k: int,
        filters: ItemFilters,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` items of each row and their scores; see `Task.recommend`.

        Args:
            scores: float32 array `[B, len(labels)]`.
            k: int.
            filters: ItemFilters, what may be recommended after each history.
        """
        raise self._cannot("recommend", "recommendation")

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of `labels`, float32 `[B, n]`."""
        raise self._cannot("give probabilities", "classification or multilabel")

    def values(self, scores: np.ndarray) -> np.ndarray:
        """One number a row, float32 `[B]`."""
        raise self._cannot("give numbers", "regression")

    def answers(
        self, scores: np.ndarray, items: Sequence[Sequence[str]], k: int
    ) -> dict[str, np.ndarray]:
        """The answers of `Task.predict`: what `export_answers` gives, in NumPy.

        Args:
            scores: float32 array `[B, len(labels)]`.
            items: B lists of str, the histories' items as `written` gives them.
            k: int. Items of an answer.

        Returns:
            dict of arrays `[B, ...]`.
        """
        raise InputError(f"`task` should be of a kind with `answers`. Received: {self.name}.")

    # Answers of the SavedModel.

    def export_answers(self, name: str, folder: Path, k: int) -> "ExportedAnswers":
        """How the SavedModel turns scores into answers; see ExportedAnswers.

        Args:
            name: str. Of the task, for files of its own.
            folder: Path of an existing folder; files there become assets.
            k: int. Items of an answer.
        """
        raise NotImplementedError

    def score_rows(self, head: Layer) -> tuple[np.ndarray, np.ndarray]:
        """A head's weights as `(rows [n, C], bias [n])`, with scores = rows · user + bias.

        `MixedSignature` puts those of many tasks into one table. The scores are the head's times
        `score_scale`, and moved by a constant.
        """
        return np.asarray(head.kernel, "float32").T, np.asarray(head.bias, "float32")

    @property
    def score_scale(self) -> float:
        """See `score_rows`."""
        return 1.0

    @staticmethod
    def mixed_scores(scores: Tensor) -> Tensor:
        """What a mixed signature answers for the scores of `score_rows`, `[n]` to `[n]`."""
        return scores

    def mixed_count(self, k: int) -> int:
        """How many of its labels a mixed signature answers with."""
        return len(self.labels)

    def _cannot(self, what, kind):
        return InputError(
            f"`task` should be of the kind {kind} to {what}. Received: a {self.name} task."
        )


@dataclass
class ExportedAnswers:
    """How a SavedModel turns a task's scores into its answer, in TensorFlow operations.

    Args:
        answer: Callable of scores `[B, n]` and of the items seen, ragged string `[B, (n)]`, that
            returns a dict of outputs.
        examples: Callable of such a dict that returns the outputs of `:classify` or `:regress`.
        table: tf.Module with the lookup tables in use, or `None`.
        select: Callable of scores, of the items seen and of the tensors `allow`, `deny`, `own_k`
            and `keep_seen`, `[B]` each, that returns a dict of outputs, or `None` where nothing can
            be selected; see `ItemTable.selected`. Defaults to `None`.
    """

    answer: Any
    examples: Any
    table: Any = None
    select: Any = None
