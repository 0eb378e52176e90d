"""The rows of a task, and how a model is trained, measured and compared on them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_peterrec.errors import InputError, Misfit, refuse
from keras_peterrec.integers import slices
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.linear_part import LinearPart, LinearScores
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.event_fields import EventFields, is_only_an_order
from keras_peterrec.log.event_split import PARTS, TEST, TRAIN, VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.field_kind import field_of
from keras_peterrec.log.field_kinds import TimeSincePrevious, find_field
from keras_peterrec.log.moments import is_moment
from keras_peterrec.log.splits import events_before
from keras_peterrec.log.task_examples import TaskExamples
from keras_peterrec.log.user_batches import UserBatches
from keras_peterrec.log.user_fields import UserFields, UserTable, find_user_fields
from keras_peterrec.log.user_splits import LEFT_OUT, check_part, split_users
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.task_kind import TaskKind
from keras_peterrec.training.inference import TOKENS, outputs_of, traced
from keras_peterrec.types import Json, Layer, Loss, Model

# From so many rows a history on, a pass over the history is cheaper than its rows: it computes
# every position twice, for the event and for a token that may stand there.
ROWS_OF_A_PASS = 2


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
        source: Events of the source log.
        examples: TaskExamples.
        max_length: int. Last events of a history that are read.
        settings: SplitSettings.

    Attributes:
        splits: dict of TaskExamples by part: `"train"`, `"validation"` and `"test"`.
        starts_trained: bool. Whether the head starts with answers that are worth keeping, so that
            training counts its start as an epoch.
        user_fields: UserFields. Which columns of users are read; none before `tell`.
        own_fields: EventFields of the source that a host does not read, or reads in another way;
            none before `tell_fields`.

    Example:

    >>> data = ClassificationData(sequences, labels, max_length=12)
    >>> data.baseline("test")["name"]
    'majority'
    """

    starts_trained = False
    user_fields = UserFields()
    own_fields = EventFields()
    # Whether the linear part may read the times between events.
    reads_times_between = False

    def __init__(
        self,
        kind: TaskKind,
        source: Events,
        examples: TaskExamples,
        max_length: int,
        settings: SplitSettings,
    ) -> None:
        self.kind, self.source, self.max_length = kind, source, max_length
        self.seed = settings.seed
        self.dropped_users = examples.dropped_users
        self.every_row = examples
        self._counted: dict[EventFeatures, Any] = {}
        split = examples.parts
        if split is None:
            split = split_users(examples.user_ids, settings.seed, settings.train_fraction)
        if is_moment(settings.split):
            examples, split = _cut_at(examples, split, source, settings.split)
        self.splits = {part: examples.select(split == part) for part in PARTS}
        sizes = [len(rows) for rows in self.splits.values()]
        if 0 in sizes:
            raise Misfit(
                f"`{kind.reads}` should have enough users with a source history for training, "
                f"validation and test. Received: {sizes} rows."
            )

    def __repr__(self):
        rows = [len(part) for part in self.splits.values()]
        return f"{type(self).__name__}(kind={self.kind.name!r}, rows={rows})"

    def doubts(self) -> list[str]:
        """What looks wrong in the answers, a line each. Defaults to nothing."""
        return []

    def tell(self, table: UserTable, fields: UserFields | None = None) -> None:
        """Tells of each row what columns say of its user.

        Args:
            table: UserTable.
            fields: UserFields, how a trained task reads them. Defaults to `None`: as the users that
                are trained on tell.

        Raises:
            InputError: a column says nothing of these.
        """
        if fields is None:
            fields = find_user_fields(table, self.splits[TRAIN].user_ids.tolist())
        self.user_fields = fields
        told = lambda rows: rows.replace(told=fields.told(table, rows.user_ids.tolist()))
        self.splits = {part: told(rows) for part, rows in self.splits.items()}
        self.every_row = told(self.every_row)

    def tell_fields(
        self,
        names: Sequence[str],
        of_host: EventFields,
        fields: EventFields | None = None,
        times: bool = False,
    ) -> None:
        """Tells of each event what columns of the log say that a host does not read.

        Args:
            names: sequence of str.
            of_host: EventFields that the host reads.
            fields: EventFields, how a trained task reads them. Defaults to `None`: as the events
                that are trained on tell.
            times: bool. Whether the times between events are told, for the linear part, where this
                kind of data has them and the log is one of times. Defaults to `False`.

        Raises:
            InputError: the log lacks a column, the host reads it, or it says nothing.
        """
        if known := [name for name in names if name in of_host.names]:
            refuse("fields", "columns that the host does not read already", ",".join(known))
        if fields is None:
            train = self.splits[TRAIN]
            trained = np.zeros(len(self.source.items), bool)
            trained[slices(train.starts, train.stops - train.starts)[1]] = True
            columns = {name: field_of(self.source, name) for name in names}
            fields = EventFields(find_field(c, name, trained) for name, c in columns.items())
        if times and self.reads_times_between and not is_only_an_order(self.source):
            fields = EventFields([*fields, TimeSincePrevious()])
        self.own_fields = fields
        self.source.tell(of_host.of_task(fields))

    # Training.

    def new_head(self) -> Layer:
        """A new head for this data."""
        return self.kind.new_head()

    def loss(self, name: str | None = None) -> Loss:
        """A new loss.

        Args:
            name: str or `None`. One of the kind's `losses`, or `None` for its default.
        """
        raise NotImplementedError

    def part_weights(
        self, users: np.ndarray, head: Layer, linear: LinearScores | None = None
    ) -> PartWeights:
        """How much the network and the linear part should count, as validation asks.

        Args:
            users: validation users `[E, C]`, of `users`.
            head: Layer, trained.
            linear: LinearScores of the validation users, or `None` for none.
        """
        return PartWeights()

    def middle(self) -> np.ndarray | float:
        """The outputs `[n]` that both parts are moved towards where they count less."""
        return 0.0

    def join(self, model: Model, linear: LinearPart | None, weights: PartWeights) -> None:
        """Weighs the network of a trained model, and adds the linear part to it.

        Args:
            model: TaskModel. Its `linear` is set; its head may be calibrated.
            linear: LinearPart, or `None` for none.
            weights: PartWeights, of `part_weights`.
        """
        if weights.network != 1.0:
            model.head.shrink(weights.network, self.middle())
        if linear is not None and weights.linear:
            model.linear = LinearTable.of_part(linear.moved(weights.linear, self.middle()))
            if linear.features == EventFeatures.of(self.source.told or EventFields()):
                return
        # Nothing counts the times between events, so a request need not tell them.
        model.own_fields = EventFields(self.own_fields.of_columns)

    def everything(self) -> "TaskData":
        """This data with the rows of all users for training, for what ships."""
        other = copy.copy(self)
        other.splits = {**self.splits, TRAIN: self.every_row}
        return other

    # Measuring.

    def reach(self, model: Model, part: str) -> int | None:
        """How many events before a cut one pass over a user's history needs; see `TaskModel.reach`.

        `None` where every row should be read for itself: the model asks for it, or few rows of
        the split are cuts of one history, but some are.
        """
        starts = self.splits[part].starts
        histories = len(np.unique(starts))
        pays = len(starts) == histories or len(starts) >= ROWS_OF_A_PASS * histories
        return model.reach(self.max_length) if pays else None

    def users(self, model: Model, part: str) -> np.ndarray:
        """The users of a split as a task model's head reads them, `[E, C]`."""
        return self.with_told(model, self.states(model, part), part)

    def with_told(self, model: Model, states: np.ndarray, part: str) -> np.ndarray:
        """The same, of the `states` of a split: with what columns say of the users."""
        told = self.splits[part].told
        return states if told is None else np.asarray(model.with_told(states, told))

    def states(self, model: Model, part: str) -> np.ndarray:
        """The users of a split after their histories, `[E, C]`; see `TaskModel.user_states`.

        One pass over each user's history answers for all of its cuts where that is right.
        """
        split, rows, reach = self.splits[part], self.source.rows, self.reach(model, part)
        if reach is None:
            return outputs_of(model.user_states, rows, split.starts, split.stops, self.max_length)
        plan = UserBatches(split.starts, split.stops, reach, TOKENS)
        forward = model.user_states_at_ends if plan.at_ends else model.user_states_at
        return plan.outputs(traced(forward, *rows.shape[1:]), rows)

    def measure(self, model: Model, part: str, sampled: bool = False) -> Measured:
        """Metrics of a task model on a part of its users.

        Args:
            model: TaskModel.
            part: str. `"train"`, `"validation"` or `"test"`, as in all that is asked of a part.
            sampled: bool. Whether the metrics that papers use are measured as well. Defaults to
                `False`.

        Raises:
            InputError: `part` is none of these.
        """
        check_part(part)
        linear = None if model.linear is None else self.linear_scores(model.linear.part(), part)
        return self.measure_users(self.users(model, part), model.head, part, sampled, linear)

    def measure_users(
        self,
        users: np.ndarray,
        head: Layer,
        part: str,
        sampled: bool = False,
        linear: LinearScores | None = None,
        network: float = 1.0,
    ) -> Measured:
        """Metrics of users `[E, C]`, computed already, and a head on a split.

        Args:
            linear: LinearScores that are added to the head's, or `None`.
            network: float. What the head's outputs are scaled with, around `middle`. Other than 1
                only where `part_weights` says so.
        """
        raise NotImplementedError

    def measure_sum(
        self, users: np.ndarray, head: Layer, linear: LinearScores | None = None
    ) -> Measured:
        """Metrics of validation users as they would be served: both parts weighed, and joined.

        Args:
            users, head, linear: see `part_weights`.
        """
        weights = self.part_weights(users, head, linear)
        added = linear.moved(weights.linear, self.middle()) if weights.linear else None
        if weights.network == 1.0:
            return self.measure_users(users, head, VALIDATION, linear=added)
        scale = weights.network
        return self.measure_users(users, head, VALIDATION, linear=added, network=scale)

    def linear_scores(self, linear: LinearPart, part: str) -> LinearScores:
        """The LinearScores of a LinearPart on a split."""
        split = self.splits[part]
        counted = self.counted(linear.features, linear.items)
        return linear.scores(self.source.rows, split.starts, split.stops, split.told, counted)

    @property
    def features(self) -> EventFeatures:
        """What the linear part may read of events beside their items."""
        told = self.source.told
        return EventFeatures() if told is None else EventFeatures.of(told)

    def counted(self, features: EventFeatures, size: int) -> Any:
        """What each event of the source log counts, sparse; `None` without features.

        Args:
            features: EventFeatures.
            size: int. Items of the source vocabulary, without special ids.
        """
        if not features or self.source.rows.ndim == 1:
            return None
        if features not in self._counted:
            self._counted[features] = features.matrix(self.source.rows, size)
        return self._counted[features]

    # Baselines.

    def baseline(self, part: str) -> Json:
        """Name and metrics of the simplest answer, the same for everybody."""
        raise NotImplementedError

    def more_baselines(self, part: str) -> list[Json]:
        """Names and metrics of other answers that need no fitting, each as `baseline`."""
        return []

    def fit_linear(self, size: int) -> LinearPart | None:
        """The linear part: a regression of the training rows' answers, the best on validation.

        Args:
            size: int. Items of the source vocabulary, without special ids.

        Returns:
            LinearPart, or `None` if the kind has none.
        """
        return None

    def refit_linear(self, size: int, linear: Json) -> LinearPart:
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

    def measure_linear(self, linear: LinearPart, part: str, sampled: bool = False) -> Measured:
        """Metrics of a LinearPart alone on a split."""
        raise NotImplementedError

    # Description.

    def summary(self) -> Json:
        """Sizes, for `metrics.json`."""
        users = [len(set(split.user_ids)) for split in self.splits.values()]
        return {
            "users": sum(users),
            "users_train_validation_test": users,
            "users_without_history": self.dropped_users,
            "known_events": round(self.source.known_share, 4),  # that the host knows
            **({"user_fields": self.user_fields.names} if len(self.user_fields) else {}),
        }

    def answer_as(self, kind: TaskKind) -> None:
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
    return examples.replace(stops=stops), np.where(emptied, LEFT_OUT, split)


def _few(labels):
    """The first labels of a list, for a message."""
    shown = ", ".join(map(str, labels[:5]))
    return shown if len(labels) <= 5 else f"{len(labels)} of them, {shown}, ..."
