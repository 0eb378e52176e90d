"""A task bundle on disk, read without building a model."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import read_format, read_json
from keras_peterrec.files.weights_file import assign_weights, read_shapes, read_weights
from keras_peterrec.keras_internals import limited_variables
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.user_fields import UserFields
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.short_names import patch_from_config
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.tasks.task_kind import TaskKind
from keras_peterrec.transfer.host import Host
from keras_peterrec.types import AnyPath, Model, Variable, Variables

FORMAT_VERSION = 5
READ_OUT = ("head/", "linear/", "user_fields/")  # how paths begin of all but token and patches
_ITEM_TABLES = ("patches/item_embedding/", "host/item_embedding/")  # how their paths begin


@dataclass(frozen=True)
class TaskBundle:
    """What `Task.save` wrote: `task.json`, `weights.npz` and what the task's kind added.

    The format is specified in `notebooks/formats.md`. `saved` is the content of `task.json`, and
    messages call the folder `argument`.
    """

    folder: Path
    saved: dict
    argument: str = "task"

    @classmethod
    def read(cls, folder: AnyPath, argument: str = "task") -> "TaskBundle":
        """Reads `task.json`.

        Raises:
            InputError: the folder holds no bundle, or one of another version.
        """
        saved = read_format(Path(folder) / "task.json", FORMAT_VERSION, argument)
        return cls(Path(folder), saved, argument)

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    @property
    def method(self) -> str:
        """Which of `METHODS` trained it."""
        return self.saved["method"]

    @property
    def final(self) -> bool:
        """Whether it was trained on everything, test users included."""
        return self.saved.get("final", False)

    def check_host(self, host: Host) -> None:
        """Refuses a host that the task was not trained on, and that does not contain that one."""
        if host.items_of(self.saved["host"]) is not None:
            return
        here = "" if host.folder is None else f" ({str(host.folder)!r})"
        path = self.folder / "run.json"
        trained = read_json(path, self.argument).get("settings", {}) if path.is_file() else {}
        there = f" ({trained['host']!r} when it was trained)" if trained.get("host") else ""
        raise InputError(
            f"`{self.argument}` should be a bundle for the host {host.fingerprint()}{here}. "
            f"Received: {str(self.folder)!r}, for the host {self.saved['host']}{there}: name that "
            f"host, or train the task on this one (transfer --from {self.folder})."
        )

    def limited_variables(self, host: Host) -> Any:
        """Within the block, what the settings ask for may not be much larger than what is saved."""
        saved = read_shapes(self.folder / "weights.npz").values()
        return limited_variables([*saved, *(w.shape for w in host.pretrainer.weights)])

    def patch(self) -> PatchMethod | None:
        """The patch method, or `None`."""
        return patch_from_config(self.saved["patch"])

    def history_settings(self) -> dict[str, int | None]:
        """`history_length` and `window` of the TaskModel."""
        return {name: self.saved[name] for name in ("history_length", "window")}

    def linear(self, host: Host) -> LinearTable | None:
        """A LinearTable of a host's items without its values, or `None`."""
        config = self.saved["linear"]
        if config is None:
            return None
        items = max(config["items"], len(host.vocabulary.items))
        return LinearTable(**{**config, "items": items})

    def user_fields(self) -> UserFields:
        """The columns of users that the task reads."""
        return UserFields.from_config(self.saved.get("user_fields", []))

    def own_fields(self) -> EventFields:
        """The fields of events that the task reads and its host does not."""
        return EventFields.from_config(self.saved.get("own_fields", []))

    def kind(self) -> TaskKind:
        """What the task's scores mean."""
        return get_kind(self.saved["kind"]).load(self.saved["answers"], self.folder)

    def files(self) -> list[str]:
        """Names of the files that make up the bundle; a run's folder holds more."""
        return ["task.json", "weights.npz", *get_kind(self.saved["kind"]).files]

    def fingerprint(self) -> str:
        """A hash of `task.json` and the weights."""
        digest = hashlib.sha256()
        for name in ("task.json", "weights.npz"):
            digest.update((self.folder / name).read_bytes())
        return f"sha256:{digest.hexdigest()[:16]}"

    def start(self, model: Model, kind: TaskKind) -> None:
        """Gives a new task model what this task knew, on whatever host, to be trained further.

        The patches, the task token and what the task has of a host of its own are those of the
        bundle; tables of items with fewer rows fill the first ones. Of the head, what the kind
        takes over, and what columns of users say. A bundle of the method `head` gives these alone,
        to a model of any method; otherwise the model is of this method and patch. `kind` is that of
        the new task.

        Raises:
            InputError: the weights do not fit the model, or the kinds differ.
        """
        earlier = self.kind()
        if type(earlier) is not type(kind):
            raise InputError(
                f"`{self.argument}` should be a {kind.name} task. Received: {str(self.folder)!r}, "
                f"a {earlier.name} task."
            )
        arrays = read_weights(self.folder / "weights.npz")
        if self.method != "head":
            self._start_rest(model, arrays)
        if model.user_fields is not None and len(self.user_fields()):
            of_users = model.user_fields.named_weights()
            assign_weights(of_users, {path: arrays[path] for path in of_users}, self.folder)
        kind.start_head(model.head, arrays, earlier)

    def _start_rest(self, model, arrays):
        variables = model.task_weights()
        if self.method != "patch":
            variables |= host_variables(model)
        kept = {
            path: grown(path, array, variables.get(path))
            for path, array in arrays.items()
            if not path.startswith(READ_OUT)
        }
        wanted = {
            path: variable
            for path, variable in variables.items()
            if not path.startswith(READ_OUT) and (path in kept or not path.startswith("host/"))
        }
        assign_weights(wanted, kept, self.folder)

    def arrays(self, variables: Variables, host: Host) -> dict[str, np.ndarray]:
        """The weights, `{path: array}`.

        If the host knows more items than the one that the task was trained on, tables of items are
        filled up to its number of rows: with those of the task's `variables`, which leave new items
        as the host has them.
        """
        arrays = read_weights(self.folder / "weights.npz")
        if host.items_of(self.saved["host"]) == len(host.vocabulary.items):
            return arrays
        return {path: grown(path, array, variables.get(path)) for path, array in arrays.items()}


def host_variables(model: Model) -> Variables:
    """The weights of the host that a TaskModel stands on, by their paths in a bundle."""
    return {f"host/{path}": weight for path, weight in model.host.named_weights().items()}


def grown(path: str, array: np.ndarray, variable: Variable | None) -> np.ndarray:
    """A table of items with more rows, those of a variable; any other array as it is.

    `path` is the weight's in a bundle. The variable is `None` if the task has none of this path.
    """
    of_items = path in ("linear/table", "linear/starts") or path.startswith(_ITEM_TABLES)
    if variable is None or not of_items or array.shape[1:] != tuple(variable.shape[1:]):
        return array
    rest = np.asarray(variable)[len(array) :]
    if path == "linear/starts":  # a sparse table: new items have no entries
        rest = np.full(len(rest), array[-1], array.dtype)
    return np.concatenate([array, rest])
