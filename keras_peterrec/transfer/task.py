"""A trained task: its model and what the scores mean, in memory and as a task bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import refuse_misfits, write_json
from keras_peterrec.files.weights_file import assign_weights, write_weights
from keras_peterrec.layers.user_field_vectors import UserFieldVectors
from keras_peterrec.linear.linear_table import LinearTable, linear_config
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.histories import EachItems, Histories, HistoryForms
from keras_peterrec.log.user_fields import UserFields
from keras_peterrec.network.network import Network
from keras_peterrec.tasks.item_filters import ItemFilters
from keras_peterrec.tasks.task_kind import TaskKind
from keras_peterrec.transfer.host import ROWS, Host
from keras_peterrec.transfer.strategies import SHARED_HOST, trained_parts
from keras_peterrec.transfer.task_bundle import FORMAT_VERSION, TaskBundle, host_variables
from keras_peterrec.transfer.task_model import TaskModel
from keras_peterrec.types import AnyPath, Layer


@dataclass
class Task:
    """A task model and what its outputs mean.

    Its *task bundle* is a folder with `task.json`, `weights.npz` (by path) and what its kind adds,
    such as `targets.txt`. It holds the patches, the head and the task token, never the shared host;
    a method that trains a copy of the host adds the weights of the copy that differ.

    Args:
        model: TaskModel. Its head is one of the kind.
        method: str, one of `METHODS`.
        kind: TaskKind, such as `Classification(["F", "M"])`: what the scores mean.
        settings: dict. How it was trained; for people.
        final: bool. Whether it was trained on everything, test users included. Defaults to `False`.
        host: Host or `None`. What it was built on: it says which ids are known, and how many events
            are read. Defaults to `None`: histories are then rows of integers.
        user_fields: UserFields. Which columns of users it reads: a history, a string, may end in
            what they say, `"i1 i2 ;plan=gold"`. Defaults to `UserFields()`, none.

    Histories are taken in every form that `Histories` names.

    Example:

    >>> task = Task.load("runs/films", host)
    >>> items, scores = task.recommend(["i1 i2 i3"], k=5)
    >>> answers = task.predict(frame)  # of each user of a table of events
    """

    model: TaskModel
    method: str
    kind: TaskKind
    settings: dict = field(default_factory=dict)
    final: bool = False
    host: Host | None = field(default=None, compare=False)
    user_fields: UserFields = UserFields()

    def __repr__(self):
        return f"Task({self.model.name!r}, method={self.method!r}, kind={self.kind!r})"

    @property
    def labels(self) -> list[str]:
        """What the scores are of, in their order: list of str, such as items or classes."""
        return self.kind.labels

    def new_head(self) -> Layer:
        """A head like the task's own, not trained."""
        return self.kind.new_head()

    def save(self, folder: AnyPath, host: Host) -> None:
        """Writes the task bundle; `task.json` comes last.

        Args:
            folder: path.
            host: Host that the task was built on.
        """
        self.check_head()
        if self.method in SHARED_HOST and self.model.host is not host.backbone:
            raise InputError(
                "`host` should be the one that the task was built on. Received: another."
            )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        named = {**self.model.task_weights(), **self._own_host_weights(host)}
        write_weights(folder / "weights.npz", named)
        answers = self.kind.save(folder)
        write_json(
            folder / "task.json",
            {
                "format_version": FORMAT_VERSION,
                "host": host.fingerprint(),
                "kind": self.kind.name,
                "answers": answers,
                "method": self.method,
                "patch": None if self.model.patch is None else self.model.patch.to_config(),
                **self.model.history_settings(),
                "linear": linear_config(self.model.linear),
                "user_fields": self.user_fields.to_config(),
                "own_fields": self.model.own_fields.to_config(),
                "settings": self.settings,
                "final": self.final,
                "weights": sorted(named),
            },
        )

    @classmethod
    def load(cls, folder: AnyPath, host: Host, argument: str = "task") -> "Task":
        """Builds the task of a bundle on a host.

        Raises:
            InputError: the folder holds no bundle, one of another version or for
                another host, or weights of other shapes. Nothing is changed then.
        """
        bundle = TaskBundle.read(folder, argument)
        with refuse_misfits(bundle.folder, argument):
            bundle.check_host(host)
            with bundle.limited_variables(host):
                task = cls._build(bundle, host)
            variables = task.model.task_weights()
            if bundle.method not in SHARED_HOST:
                own, saved = host_variables(task.model), bundle.saved["weights"]
                variables |= {path: own[path] for path in own if path in saved}
        assign_weights(variables, bundle.arrays(variables, host), bundle.folder)
        return task

    @classmethod
    def _build(cls, bundle, host):
        shared = bundle.method in SHARED_HOST
        backbone = host.backbone if shared else host.backbone.copy()
        kind, user_fields = bundle.kind(), bundle.user_fields()
        model = TaskModel(
            backbone,
            kind.new_head(),
            bundle.patch(),
            name=bundle.name,
            linear=bundle.linear(host),
            user_fields=user_field_vectors(user_fields, backbone),
            own_fields=bundle.own_fields(),
            **bundle.history_settings(),
            **trained_parts(bundle.method),
        )
        how = bundle.saved["settings"], bundle.final, host, user_fields
        return cls(model, bundle.method, kind, *how)

    def predict(self, histories: HistoryForms, k: int = 10) -> dict[str, np.ndarray]:
        """The task's answers in the outputs of its signature in an export; see `ServingModule`.

        `pandas.DataFrame({name: list(values) for name, values in answers.items()})` makes a table
        of them.

        Args:
            histories: see `Histories`; a table of events is answered for each of its users.
            k: int. Items of a recommendation, those of the history left out unless the task keeps
                them. Defaults to `10`.

        Returns:
            dict of arrays `[B, ...]`: `user_id`, where the histories say whose they are; `items`,
            `classes` or `labels`, and `scores`, or `value`; `events`, how many each history has,
            and `known_events`, how many of them are of items that the host knows.

        Raises:
            InputError: the histories have another form.
        """
        asked = Histories(histories)
        scores, counts = self._scores(asked)
        answers = self.kind.answers(scores, asked.items(self._vocabulary), k)
        users = {} if asked.user_ids is None else {"user_id": asked.user_ids}
        return {**users, **answers, **dict(sorted(counts.items()))}

    def recommend(
        self,
        histories: HistoryForms,
        k: int = 10,
        *,
        allow: EachItems = "",
        deny: EachItems = "",
        keep_seen: bool | Sequence[bool | None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` target items of each history, without its own unless the task keeps them.

        The same call as `ExportedModel.recommend`, `MixedTasks.recommend` and `Host.recommend`. Of
        a task without a host nobody knows what a history's own items are.

        Args:
            histories: see `Histories`.
            k: int. Defaults to `10`.
            allow: Only these items: a string of ids, separated by white space, for all histories;
                or a string or a list of ids for each. Defaults to `""`, all items.
            deny: None of these items, in the same forms. Defaults to `""`.
            keep_seen: bool, a list of B bools, or `None`. Whether items of the history may be
                recommended. Defaults to `None`: as the task was trained.

        Returns:
            Items (str) and scores (float32), `[B, k]` each, best first. If fewer are left, the rest
            is `""` with the lowest float32.

        Raises:
            InputError: the task's kind does not recommend, or an argument has another form.
        """
        asked = Histories(histories)
        filters = ItemFilters.of(asked.items(self._vocabulary), allow, deny, keep_seen)
        scores, _ = self._scores(asked)
        return self.kind.recommend(scores, k, filters)

    def probabilities(self, histories: HistoryForms) -> np.ndarray:
        """Probabilities of `labels` for each history, float32 `[B, n]`.

        Raises:
            InputError: the task's kind has no probabilities.
        """
        return self.kind.probabilities(self.scores(histories))

    def values(self, histories: HistoryForms) -> np.ndarray:
        """One number for each history, float32 `[B]`.

        Raises:
            InputError: the task's kind does not answer with a number.
        """
        return self.kind.values(self.scores(histories))

    def scores(self, histories: HistoryForms) -> np.ndarray:
        """What the head says of histories, float32 `[B, n]`; see `Histories` for their forms.

        Unknown items are left out, as in training and serving.
        """
        return self._scores(Histories(histories))[0]

    def check_head(self) -> None:
        """Raises InputError if the model's head is none of the task's kind."""
        head, wanted = self.model.head, self.kind.new_head()
        outputs = self.model.output_shape[-1]
        if type(head) is type(wanted) and outputs == len(self.labels):
            return
        raise InputError(
            f"`task` should have the head of a {self.kind.name} task, a {type(wanted).__name__} "
            f"with {len(self.labels)} outputs, to be saved or exported. Received: a "
            f"{type(head).__name__} with {outputs}; for a head of your own, "
            "register a kind of task (`register_task_kind`)."
        )

    @property
    def _vocabulary(self):
        return None if self.host is None else self.host.vocabulary

    def _scores(self, asked):
        """Scores, and how many events are known; see `Histories.ids`."""
        how = (None,) if self.host is None else self.host.how_tasks_read(self.model)
        ids, counts = asked.ids(self._vocabulary, *how)
        inputs = {"history": ids}
        if len(self.user_fields):
            inputs["told"] = asked.told(self.user_fields)
        scores = []
        for start in range(0, max(len(ids), 1), ROWS):
            some = {name: rows[start : start + ROWS] for name, rows in inputs.items()}
            scores.append(self.model(some, training=False))
        return np.concatenate(scores), counts

    def _own_host_weights(self, host):
        """Weights in which this task's host differs from the shared one."""
        if self.model.host is host.backbone:
            return {}
        shared = host.backbone.named_weights()
        return {
            path: weight
            for path, weight in host_variables(self.model).items()
            if not np.array_equal(weight, shared[path.removeprefix("host/")])
        }


def user_field_vectors(fields: UserFields, host: Network) -> UserFieldVectors | None:
    """The layer of a new task that reads these columns of users; `None` where there are none."""
    if not len(fields):
        return None
    dtype = host.item_embedding.dtype_policy
    return UserFieldVectors(fields.values, host.hidden_dim, dtype=dtype)


def new_linear(model: TaskModel) -> LinearTable | None:
    """A linear part with the settings of a model's and none of its values, or `None`."""
    return None if model.linear is None else LinearTable(**linear_config(model.linear))


def refuse_own_fields(fields: EventFields, argument: str) -> None:
    """Raises InputError where a task reads fields of events that its host does not read."""
    if fields.columns:
        raise InputError(
            f"`{argument}` should read of events what the host reads, to be merged, stacked or "
            f"mixed. Received: a task that reads {', '.join(fields.columns)} as well."
        )
