"""What a kind of task has to say: its data, head, metric, bundle and answers."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from keras_peterrec.data.moments import is_moment
from keras_peterrec.data.splits import TEST, VALIDATION, events_before, split_users
from keras_peterrec.data.user_batches import UserBatches
from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.layers.linear_table import LinearTable
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.heads import start_outputs
from keras_peterrec.training.inference import TOKENS, outputs_of, traced

DEFAULT_SPLIT = SplitSettings()
# From so many rows a history on, a pass over the history is cheaper than its rows: it computes
# every position twice, for the event and for a token that may stand there.
ROWS_OF_A_PASS = 2


@dataclass(frozen=True)
class Metric:
    """A metric and which way is better.

    Args:
        name: str. A key of what `TaskData.measure` returns.
        higher_is_better: bool.
        root_of: str or `None`. What each row adds to a mean whose square root the metric is;
            `None` where the metric is the mean itself. Defaults to `None`.
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

    def described(self) -> dict:
        """What `metrics.json` says of it, under `decides`."""
        return {
            "name": self.name,
            "higher_is_better": self.higher_is_better,
            "root_of": self.root_of,
        }

    def of_means(self, means: Any) -> Any:
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
        hides_seen: bool. Whether answers leave out what the history holds.
        example_suffix: str. Under which name the signature for `tf.Example` is exported:
            `"_classify"` or `"_regress"`, after the REST call that finds it.
    """

    name: ClassVar[str]
    metric: ClassVar[Metric]
    shown: ClassVar[tuple]
    reads: ClassVar[str] = "labels"
    losses: ClassVar[tuple] = ()
    class_weights: ClassVar[tuple] = ()
    unit: ClassVar[str]
    linear_name: ClassVar[str] = "ridge"
    files: ClassVar[tuple] = ()
    has_units: ClassVar[bool] = False
    hides_seen: ClassVar[bool] = False
    example_suffix: ClassVar[str] = "_classify"

    def __eq__(self, other):
        """Whether the same scores are the same answers."""
        return type(self) is type(other) and self.labels == other.labels

    # What the scores are of.

    @property
    def labels(self) -> list:
        """What each of the scores is of, in their order: list of str."""
        raise NotImplementedError

    def new_head(self) -> Any:
        """A new head, a Layer from users `[B, C]` to scores `[B, len(labels)]`.

        Layers inside it need names of their own: a bundle holds the weights by path.
        """
        raise NotImplementedError

    def start_head(self, head: Any, arrays: dict, earlier: "TaskKind") -> None:
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
        cls, source: Any, answers: Any, max_length: int, settings: SplitSettings = DEFAULT_SPLIT
    ) -> "TaskData":
        """The task's rows, split into training, validation and test.

        Args:
            source: Sequences of the source log.
            answers: Log (a target log) or Labels, as `reads` says.
            max_length: int. Last events of a history that are read.
            settings: SplitSettings.
        """
        raise NotImplementedError

    # The bundle.

    def save(self, folder: Any) -> dict:
        """Writes what needs files of its own into a bundle; returns the rest, JSON values."""
        raise NotImplementedError

    @classmethod
    def load(cls, saved: dict, folder: Any) -> "TaskKind":
        """What `save` wrote and returned, as an object."""
        raise NotImplementedError

    # Answers in Python. Scores are those of the head, float32 `[B, len(labels)]`.

    def recommend(
        self, scores: Any, k: int, exclude: Sequence[Sequence[str]] | None = None
    ) -> tuple:
        """The best `k` items of each row and their scores; see `Task.recommend`."""
        raise self._cannot("recommend", "recommendation")

    def probabilities(self, scores: Any) -> np.ndarray:
        """Probabilities of `labels`, float32 `[B, n]`."""
        raise self._cannot("give probabilities", "classification or multilabel")

    def values(self, scores: Any) -> np.ndarray:
        """One number a row, float32 `[B]`."""
        raise self._cannot("give numbers", "regression")

    # Answers of the SavedModel.

    def export_answers(self, name: str, folder: Any, k: int) -> "ExportedAnswers":
        """How the SavedModel turns scores into answers; see ExportedAnswers.

        Args:
            name: str. Of the task, for files of its own.
            folder: Path of an existing folder; files there become assets.
            k: int. Items of an answer.
        """
        raise NotImplementedError

    def score_rows(self, head: Any) -> tuple:
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
    def mixed_scores(scores: Any) -> Any:
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
        answer: Callable of scores `[B, n]` and of the items seen, string `[B]`, that returns a dict
            of outputs.
        examples: Callable of such a dict that returns the outputs of `:classify` or `:regress`.
        table: tf.Module with the lookup tables in use, or `None`.
        select: Callable of scores and of the tensors `history`, `allow`, `deny`, `own_k` and
            `keep_seen`, `[B]` each, that returns a dict of outputs, or `None` where nothing can be
            selected; see `ItemTable.selected`. Defaults to `None`.
    """

    answer: Any
    examples: Any
    table: Any = None
    select: Any = None


@dataclass(frozen=True)
class PartWeights:
    """How much the two parts of a task's answer count.

    Args:
        network: float. What the head's outputs are scaled with. Defaults to `1.0`.
        linear: float. What the linear part is scaled with; 0 for none. Defaults to `0.0`.
    """

    network: float = 1.0
    linear: float = 0.0


class TaskData:
    """The rows of a task and how a model is measured on them.

    Args:
        kind: TaskKind.
        source: Sequences of the source log.
        examples: TaskExamples.
        max_length: int. Last events of a history that are read.
        settings: SplitSettings.

    Attributes:
        splits: list of TaskExamples: training, validation and test.
        starts_trained: bool. Whether the head starts with answers that are worth keeping, so that
            training counts its start as an epoch.
    """

    starts_trained = False

    def __init__(
        self, kind: "TaskKind", source: Any, examples: Any, max_length: int, settings: SplitSettings
    ) -> None:
        self.kind, self.source, self.max_length = kind, source, max_length
        self.seed = settings.seed
        self.dropped_users = examples.dropped_users
        self.every_row = examples
        split = examples.parts
        if split is None:
            split = split_users(examples.user_ids, settings.seed, settings.train_fraction)
        if is_moment(settings.split):
            examples, split = _cut_at(examples, split, source, settings.split)
        self.splits = [examples.select(split == part) for part in range(3)]
        sizes = [len(part) for part in self.splits]
        if 0 in sizes:
            raise Misfit(
                f"`{kind.reads}` should have enough users with a source history for training, "
                f"validation and test. Received: {sizes} rows."
            )

    def __repr__(self):
        rows = [len(part) for part in self.splits]
        return f"{type(self).__name__}(kind={self.kind.name!r}, rows={rows})"

    # Training.

    def new_head(self) -> Any:
        """A new head for this data."""
        return self.kind.new_head()

    def loss(self, name: str | None = None) -> Any:
        """A new loss.

        Args:
            name: str or `None`. One of the kind's `losses`, or `None` for its default.
        """
        raise NotImplementedError

    def part_weights(self, model: Any, linear: Any = None) -> PartWeights:
        """How much the network and the linear part should count, as validation asks.

        Args:
            model: TaskModel, trained.
            linear: LinearPart, of `fit_linear`, or `None` for none.
        """
        return PartWeights()

    def join(self, model: Any, linear: Any, weights: PartWeights) -> None:
        """Adds the linear part to a trained model.

        Args:
            model: TaskModel. Its `linear` is set; its head may be calibrated.
            linear: LinearPart, or `None` for none.
            weights: PartWeights, of `part_weights`.
        """
        if linear is not None and weights.linear:
            model.linear = LinearTable.of_part(linear.moved(weights.linear))

    def everything(self) -> "TaskData":
        """This data with the rows of all users for training, for what ships."""
        other = copy.copy(self)
        other.splits = [self.every_row, *self.splits[VALIDATION:]]
        return other

    # Measuring.

    def reach(self, model: Any, part: int) -> int | None:
        """How many events before a cut one pass over a user's history needs; see `TaskModel.reach`.

        `None` where every row should be read for itself: the model asks for it, or few rows of
        the split are cuts of one history, but some are.
        """
        starts = self.splits[part].starts
        histories = len(np.unique(starts))
        pays = len(starts) == histories or len(starts) >= ROWS_OF_A_PASS * histories
        return model.reach(self.max_length) if pays else None

    def users(self, model: Any, part: int) -> np.ndarray:
        """The users of a split as a task model's head reads them, `[E, C]`.

        One pass over each user's history answers for all of its cuts where that is right.
        """
        split, items, reach = self.splits[part], self.source.items, self.reach(model, part)
        if reach is None:
            return outputs_of(model.user_states, items, split.starts, split.stops, self.max_length)
        plan = UserBatches(split.starts, split.stops, reach, TOKENS)
        forward = model.user_states_at_ends if plan.at_ends else model.user_states_at
        return plan.outputs(traced(forward), items)

    def measure(self, model: Any, part: int, sampled: bool = False) -> dict:
        """Metrics of a task model on a split; those against sampled negatives if asked."""
        linear = None if model.linear is None else self.linear_scores(model.linear.part(), part)
        return self.measure_users(self.users(model, part), model.head, part, sampled, linear)

    def measure_users(
        self, users: Any, head: Any, part: int, sampled: bool = False, linear: Any = None
    ) -> dict:
        """Metrics of users `[E, C]`, computed already, and a head on a split.

        Args:
            linear: LinearScores that are added to the head's, or `None`.
        """
        raise NotImplementedError

    def linear_scores(self, linear: Any, part: int) -> Any:
        """The LinearScores of a LinearPart on a split."""
        split = self.splits[part]
        return linear.scores(self.source.items, split.starts, split.stops)

    # Baselines.

    def baseline(self, part: int) -> dict:
        """Name and metrics of the simplest answer, the same for everybody."""
        raise NotImplementedError

    def fit_linear(self, size: int) -> Any:
        """The linear part: a regression of the training rows' answers, the best on validation.

        Args:
            size: int. Items of the source vocabulary, without special ids.

        Returns:
            LinearPart, or `None` if the kind has none.
        """
        return None

    def refit_linear(self, size: int, linear: Any) -> Any:
        """The linear part fitted to the training rows with settings that were chosen before.

        Args:
            size: see `fit_linear`.
            linear: dict, `chosen` of the LinearPart that `fit_linear` found.

        Raises:
            InputError: the kind cannot.
        """
        raise InputError(
            f"`linear` should be False with `final` for a {self.kind.name} task, which has no "
            "`refit_linear`. Received: True."
        )

    def measure_linear(self, linear: Any, part: int, sampled: bool = False) -> dict:
        """Metrics of a LinearPart alone on a split."""
        raise NotImplementedError

    # Description.

    def summary(self) -> dict:
        """Sizes, for `metrics.json`."""
        users = [len(set(split.user_ids)) for split in self.splits]
        return {
            "users": sum(users),
            "users_train_validation_test": users,
            "users_without_history": self.dropped_users,
        }

    def answer_as(self, kind: Any) -> None:
        """Takes on the kind of a trained task, which is then measured on these rows.

        Args:
            kind: TaskKind, that of the task.

        Raises:
            InputError: the task answers something else than this data asks for.
        """
        if type(self.kind) is not type(kind) or self.kind.labels != kind.labels:
            raise InputError(
                f"`{self.kind.reads}` should have the {kind.name} answers that the task was "
                f"trained on ({_few(kind.labels)}). Received: {_few(self.kind.labels)}."
            )
        self.kind = kind


def _cut_at(examples, split, source, moment):
    """Ends the histories of training and validation at a moment; those that are then empty go."""
    before = events_before(source, moment)
    users = np.searchsorted(source.offsets, examples.starts, side="right") - 1
    ends = examples.starts + before[np.minimum(users, len(before) - 1)]
    stops = np.where(split == TEST, examples.stops, np.minimum(examples.stops, ends))
    emptied = (stops == examples.starts) & (examples.stops > examples.starts)
    return examples.with_stops(stops), np.where(emptied, -1, split)


def _few(labels):
    """The first labels of a list, for a message."""
    shown = ", ".join(map(str, labels[:5]))
    return shown if len(labels) <= 5 else f"{len(labels)} of them, {shown}, ..."
