"""Batches in which every row has a task of its own."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.json_file import refuse_misfits
from keras_peterrec.files.weights_file import check_arrays
from keras_peterrec.layers.user_field_vectors import added_vectors
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.histories import EachItems, Histories, HistoryForms
from keras_peterrec.log.user_fields import UserFields
from keras_peterrec.network.network import Network
from keras_peterrec.patches.patch_layer import item_rows, with_weights
from keras_peterrec.tasks.heads import head_weights
from keras_peterrec.tasks.item_filters import NO_ITEM, NO_SCORE, ItemFilters
from keras_peterrec.tasks.task_kind import TaskKind
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_linear import MixedLinear
from keras_peterrec.transfer.task import Task, new_linear, refuse_own_fields, user_field_vectors
from keras_peterrec.transfer.task_bundle import READ_OUT, TaskBundle
from keras_peterrec.types import AnyPath, Layer, Tensor, Variable, Variables

# The vectors of what columns say of users: a task's own among its weights, and task after task.
USER_VALUES = "user_fields/table"


@dataclasses.dataclass(frozen=True)
class _Part:
    """What one task brings into a mix."""

    built: tuple  # method, patch method, how much of a history is read: the same for all
    arrays: dict[str, np.ndarray]
    kind: TaskKind
    linear: LinearTable | None  # of its own, with the values of `arrays` once these are checked
    user_fields: UserFields
    own_fields: EventFields


class MixedTasks(keras.Model):
    """Many tasks of one patch method on one host: one pass for rows of any of them.

    The host runs once for a batch. The tasks' patches lie stacked,
    `[T, C, K]`, and each row reads those of its task; what is held beside the host is
    what the bundles hold. Answers are those of the separate tasks within float noise.

    Made by `of_tasks` or `load`.

    Args:
        pattern: Task. The patch layers, and the host, that all tasks share.
        names: list of str. The tasks in the order of their places.
        weights: dict from path to array `[T, ...]`, of task tokens and patches.
        heads: list of Layer, built, one for each task.
        kinds: list of TaskKind, one for each task: what its scores mean.
        sources: dict from name to what a task was stacked from, a Task or a bundle's path.
        linear: list of LinearTable or `None`, one for each task.
        user_fields: list of UserFields, one for each task: the columns of users that it reads.
        own_fields: EventFields that tasks read in another way than the host; see `TaskModel`.

    Call arguments:
        inputs: dict of `history`, integer tensor `[B, L]`, padded on the left, and
            `place`, integer tensor `[B]`, the task of each row. And perhaps `told`, integer tensor
            `[B, G]`: what the columns of each row's own task say of the user, 0 for nothing.

    Returns:
        Tensor of shape `[B, C]`, the users as their tasks' heads read them.

    Example:

    >>> mixed = MixedTasks.load(["runs/films", "runs/gender"], host)
    >>> films, gender = mixed.scores(histories, ["films", "gender"])
    """

    def __init__(
        self,
        pattern: Task,
        names: Iterable[str],
        weights: Mapping[str, np.ndarray],
        heads: list[Layer],
        kinds: list[TaskKind],
        sources: Mapping[str, Any],
        linear: Sequence[LinearTable | None],
        user_fields: Sequence[UserFields],
        own_fields: EventFields,
        **kwargs: Any,
    ) -> None:
        super().__init__(name="mixed_tasks", trainable=False, **kwargs)
        self.own_fields = own_fields
        self.places_of = {task: place for place, task in enumerate(names)}
        self.heads = heads
        self.kinds = kinds
        self.sources = dict(sources)
        self._pattern, self._of_host = pattern.model, pattern.host
        stacked = {}
        for path, array in weights.items():
            stacked[path] = self.add_weight(array.shape, "zeros", name=path.replace("/", "_"))
            stacked[path].assign(array)
        self._stacked, self.user_fields = stacked, list(user_fields)
        counts = [fields.values for fields in self.user_fields]
        self._first_values = np.cumsum([0, *counts])[:-1].astype("int32")
        self.linear = None
        if any(part is not None for part in linear):
            self.linear = MixedLinear(linear, [len(kind.labels) for kind in kinds])

    @classmethod
    def of_tasks(cls, tasks: Mapping[str, Task]) -> "MixedTasks":
        """Stacks trained tasks, `{name: Task}`."""
        tasks, parts = dict(tasks), {}
        pattern = next(iter(tasks.values()), None)
        for name, task in tasks.items():
            model = task.model
            if model.host is not pattern.model.host:
                raise InputError("`tasks` should be on one host object. Received: several.")
            refuse_own_fields(model.own_fields, "tasks")
            parts[name] = _Part(
                (task.method, model.patch, model.history_settings()),
                {path: np.asarray(weight) for path, weight in model.task_weights().items()},
                task.kind,
                new_linear(model),
                task.user_fields,
                model.own_fields,
            )
        return cls._of_parts(pattern, parts, tasks, "tasks")

    @classmethod
    def load(
        cls, folders: Iterable[AnyPath], host: Host, argument: str = "folders"
    ) -> "MixedTasks":
        """Reads task bundles; a task is called as its folder. Messages call them `argument`.

        Raises:
            InputError: see `Task.load`; or the tasks are not of the method `patch` with
                one patch method.
        """
        folders, parts = list(folders), {}
        pattern = Task.load(folders[0], host, argument) if folders else None
        for folder in folders:
            bundle = TaskBundle.read(folder, argument)
            if bundle.name in parts:
                raise InputError(
                    f"`{argument}` should have different names. Received: two {bundle.name!r}."
                )
            bundle.check_host(host)
            refuse_own_fields(bundle.own_fields(), argument)
            with refuse_misfits(folder, argument), bundle.limited_variables(host):
                linear = bundle.linear(host)
            variables = pattern.model.task_weights()
            if linear is not None:
                variables |= linear.named_weights()
            parts[bundle.name] = _Part(
                (bundle.method, bundle.patch(), bundle.history_settings()),
                bundle.arrays(variables, host),
                bundle.kind(),
                linear,
                bundle.user_fields(),
                bundle.own_fields(),
            )
        return cls._of_parts(pattern, parts, dict(zip(parts, folders)), argument)

    @classmethod
    def _of_parts(cls, pattern, parts, sources, argument):
        if not parts:
            raise InputError(f"`{argument}` should be one or more. Received: none.")
        stacked = {
            path: weight
            for path, weight in pattern.model.task_weights().items()
            if not path.startswith(READ_OUT)
        }
        of_each, heads = list(parts.values()), []
        for name, part in parts.items():
            if part.built != of_each[0].built or part.built[0] != "patch":
                raise InputError(
                    f"`{argument}` should be of the method patch, of one patch method, and read as "
                    f"much of a history. Received: {name!r} of {', '.join(map(str, part.built))}."
                )
            head = part.kind.new_head()
            head.build((None, pattern.model.host.hidden_dim))
            heads.append(head)
            own = head_weights(head)
            if part.linear is not None:
                own |= part.linear.named_weights()
            vectors = user_field_vectors(part.user_fields, pattern.model.host)
            of_users = {} if vectors is None else vectors.named_weights()
            check_arrays({**stacked, **own, **of_users}, part.arrays, name)
            for path, weight in own.items():
                weight.assign(part.arrays[path])
        weights = {path: np.stack([part.arrays[path] for part in of_each]) for path in stacked}
        told = [part.arrays[USER_VALUES] for part in of_each if len(part.user_fields)]
        if told:
            weights[USER_VALUES] = np.concatenate(told)
        return cls(
            pattern,
            parts,
            weights,
            heads,
            [part.kind for part in of_each],
            sources,
            [part.linear for part in of_each],
            [part.user_fields for part in of_each],
            max((part.own_fields for part in of_each), key=len),
        )

    def call(self, inputs: dict[str, Tensor]) -> Tensor:
        history, place = (ops.cast(inputs[name], "int32") for name in ("history", "place"))
        patches = {
            where: {
                site: functools.partial(self._act, patch, f"patches/{where}/{site}", place)
                for site, patch in sites.items()
            }
            for where, sites in self._pattern.patches.items()
        }
        token = self._rows("task_token/token", place)
        users = self._pattern.patched_host.user(history, patches, token, training=False)
        if (told := inputs.get("told")) is None:
            return users
        first = ops.expand_dims(ops.take(self._first_values, place), 1)
        return users + added_vectors(self._stacked[USER_VALUES], told, users.dtype, first)

    def told(self, place: np.ndarray, told_of: Callable[[UserFields], Any]) -> Tensor | None:
        """What the columns of each row's own task say of the user, int32 `[B, G]`.

        `told_of` gives what a task's columns say of all rows, `[B, G']`. `None` where no task reads
        columns of users.
        """
        width, told = max(map(len, self.user_fields)), None
        for number, fields in enumerate(self.user_fields):
            if len(fields):
                of_task = ops.cast(told_of(fields), "int32")
                of_task = ops.pad(of_task, [[0, 0], [0, width - len(fields)]])
                of_task *= ops.expand_dims(ops.cast(ops.equal(place, number), "int32"), 1)
                told = of_task if told is None else told + of_task
        return told

    @property
    def host(self) -> Network:
        """The network that all tasks share."""
        return self._pattern.host

    @property
    def events_read(self) -> int | None:
        """See `TaskModel`."""
        longest = self._pattern.events_read
        return longest and max(longest, self.linear_events)

    @property
    def linear_events(self) -> int:
        """See `TaskModel`."""
        return 0 if self.linear is None else self.linear.longest

    def scores(self, histories: HistoryForms, tasks: Sequence[str]) -> list[np.ndarray]:
        """Each row's scores by its own task's head.

        Args:
            histories: see `Histories` for their forms; unknown items are left out.
            tasks: list of str, B names.

        Returns:
            list of B float32 arrays: what the tasks' heads say.

        Raises:
            InputError: there is no such task, there are more or fewer tasks than histories, or
                these have another form.
        """
        return self._scores(Histories(histories), tasks)

    def recommend(
        self,
        histories: HistoryForms,
        k: int = 10,
        *,
        task: str | Sequence[str],
        allow: EachItems = "",
        deny: EachItems = "",
        keep_seen: bool | Sequence[bool | None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` target items of each history, of its own task.

        Args:
            task: str, or list of B str: the task of all histories, or of each.
            histories, k, allow, deny, keep_seen: see `Task.recommend`.

        Returns:
            Items (str) and scores (float32), `[B, k]` each, as `Task.recommend` gives them.

        Raises:
            InputError: there is no such task, one of them does not recommend, or an argument has
                another form.
        """
        asked = Histories(histories)
        tasks = [task] * len(asked) if isinstance(task, str) else list(task)
        seen = asked.items(None if self._of_host is None else self._of_host.vocabulary)
        filters = ItemFilters.of(seen, allow, deny, keep_seen)
        scores, answered = self._scores(asked, tasks), []
        for name in dict.fromkeys(tasks):
            rows = [row for row, other in enumerate(tasks) if other == name]
            kind = self.kinds[self.places_of[name]]
            of_rows = np.stack([scores[row] for row in rows])
            answered.append((rows, *kind.recommend(of_rows, k, filters.rows(rows))))
        width = max((items.shape[1] for _, items, _ in answered), default=0)
        best = np.full((len(tasks), width), NO_ITEM, object)
        best_scores = np.full(best.shape, NO_SCORE, "float32")
        for rows, items, of_rows in answered:
            best[rows, : items.shape[1]] = items
            best_scores[rows, : items.shape[1]] = of_rows
        return best, best_scores

    def _scores(self, asked, tasks):
        place, host = self.places(tasks), self._of_host
        known = (None,) if host is None else (host.vocabulary, *host.how_tasks_read(self))
        histories, _ = asked.ids(*known)
        if len(histories) != len(place):
            raise InputError(
                "`tasks` should be one for each history. "
                f"Received: {len(place)} for {len(histories)} histories."
            )
        told = self.told(place, asked.told)
        inputs = {"history": histories, "place": place}
        users = self.predict_on_batch(inputs if told is None else {**inputs, "told": told})
        linear = None
        if self.linear is not None:
            linear = np.asarray(self.linear_scores(histories, place, told))
        scores = [None] * len(place)
        for number in np.unique(place):
            rows = np.flatnonzero(place == number)
            answers = ops.convert_to_numpy(self.heads[number](users[rows]))
            if linear is not None:
                start, bias = self.linear.starts[number], self.linear.biases[number]
                answers = answers + linear[rows, start : start + len(bias)] + bias
            for row, answer in zip(rows, answers):
                scores[row] = answer
        return scores

    def linear_scores(self, history: Tensor, place: Tensor, told: Tensor | None = None) -> Tensor:
        """What the linear parts add to the scores of rows, as `MixedLinear` gives it."""
        return self.linear(history, place, told)

    def stacked_weights(self) -> Variables:
        """Task tokens and patches of all tasks, `{path: variable [T, ...]}`."""
        return dict(self._stacked)

    def linear_weights(self) -> Variables:
        """The tables of the linear parts by path."""
        return {} if self.linear is None else self.linear.named_weights()

    def task_variables(self) -> list[Variable]:
        """All that is held beside the host: what the tasks' bundles hold."""
        heads = [weight for head in self.heads for weight in head.weights]
        return [*self._stacked.values(), *heads, *self.linear_weights().values()]

    def places(self, tasks: Sequence[str]) -> np.ndarray:
        """Numbers of the tasks called so, int32 `[B]`."""
        for name in tasks:
            if name not in self.places_of:
                refuse("tasks", f"of {', '.join(self.places_of)}", name)
        return np.array([self.places_of[name] for name in tasks], "int32")

    def _act(self, patch, path, place, inputs, outputs, seen=None):
        """What a patch gives with each row's weights."""
        weights = {}
        for name in patch.named_weights():
            if name in patch.item_tables:
                weights[name] = item_rows(self._stacked[f"{path}/{name}"], inputs, place)
            else:
                weights[name] = self._rows(f"{path}/{name}", place)
        return with_weights(patch.apply, weights)(inputs, outputs, seen)

    def _rows(self, path, place):
        """The weights of each row's task; of a vector, `[B, 1, N]`."""
        rows = ops.take(self._stacked[path], place, axis=0)
        return ops.expand_dims(rows, 1) if len(rows.shape) == 2 else rows
