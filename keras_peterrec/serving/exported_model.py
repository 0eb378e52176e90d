"""A version directory as a Python object that answers."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_peterrec.data.id_text import written
from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import read_format
from keras_peterrec.serving.asset_hashes import changed_assets
from keras_peterrec.serving.signature_names import EMBED, MIXED, STATE, STEP

FORMAT_VERSION = 2
DESCRIPTION = Path("assets.extra") / "peterrec.json"
BUNDLES = Path("assets.extra") / "tasks"
MIXED_BUNDLES = Path("assets.extra") / "mixed_tasks"
CARD = Path("assets.extra") / "README.md"
REPORTS = Path("assets.extra") / "reports.json"  # what the card is made of


class ExportedModel:
    """Answers from a version directory that `export` wrote.

    Args:
        path: path of the version directory, such as `export/peterrec/1`; or of the folder with
            versions, for the newest.
        argument: str. What messages call `path`. Defaults to `"model"`.

    Raises:
        InputError: `path` is not a version directory, or files in it are missing or changed.

    Example:

    >>> model = ExportedModel("export/peterrec/1")
    >>> model.predict("films", ["1193 661 914", ""])["items"].shape
    (2, 10)
    """

    def __init__(self, path: Any, argument: str = "model") -> None:
        path = newest_version(path)
        if not (path / "saved_model.pb").is_file():
            raise InputError(
                f"`{argument}` should be a version directory with saved_model.pb, such as "
                "export/peterrec/1, or a folder with versions. "
                f"Received: {str(path)!r}, which has none."
            )
        self.description = read_format(path / DESCRIPTION, FORMAT_VERSION, argument)
        changed = changed_assets(path, self.description)
        if changed:
            raise InputError(
                f"`{argument}` should have the assets that were exported. "
                f"Received: {str(path)!r}, with {', '.join(changed)} missing or changed."
            )
        try:
            self._model = tf.saved_model.load(str(path))
        # TensorFlow's reader of weights calls a file cut short an IndexError.
        except (OSError, ValueError, RuntimeError, LookupError, tf.errors.OpError) as error:
            raise InputError(
                f"`{argument}` should be a whole SavedModel. Received: {str(path)!r}, whose files "
                f"are damaged or cut short ({_first_line(error)}). Copy it or export it again; "
                "`export --check` says more."
            ) from error

    @property
    def signatures(self) -> Any:
        """Names that `predict` knows: `serving_default`, `embed` and the tasks."""
        return sorted(
            name
            for name, signature in self._model.signatures.items()
            if list(signature.structured_input_signature[1]) == ["history"]
        )

    def units(self, task: str) -> str:
        """What the numbers are that a task answers with.

        Returns:
            `"score"` (a logit: the higher the better, no probability), `"probability"`,
            `"number"`, or `"vector"`.
        """
        if task == EMBED:
            return "vector"
        return self.description["tasks"].get(task, {"unit": "score"})["unit"]

    def predict(self, task: str, histories: Any) -> dict:
        """Answers of one signature.

        Args:
            task: str. The name of a task, `"serving_default"` (the next item) or
                `"embed"`.
            histories: B histories, the oldest item first: a list, array or Series (pandas or
                polars) of strings with item ids separated by white space, or of lists of ids; or a
                DataFrame with one column of them, called `history` or the only one.
                An id with white space stands in a string as `written` gives it, `"New%20York"`.

        Returns:
            dict of arrays, `[B, ...]`: float32, and str where strings are given;
            see `ServingModule`.

        Raises:
            InputError: the task is unknown, or `histories` holds something else.
        """
        if task not in self.signatures:
            raise InputError(
                f"`task` should be one of {', '.join(self.signatures)}. "
                f"Received: `task` = {task!r}."
            )
        return self._ask(task, history=_strings("histories", history_strings(histories)))

    def step(
        self,
        task: str,
        items: list[str],
        states: list[bytes] | None = None,
        seen: list[str] | None = None,
    ) -> dict:
        """Takes one event of each user and answers, in a model with `incremental`.

        Args:
            task: str. The name of a task.
            items: list of str, B new events; `""` for a user who has none.
            states: list of bytes, `state_bytes` of the last answer, `b""` for a new user.
                Defaults to `None`, all are new.
            seen: list of str, item ids not to recommend, separated by white space.
                Defaults to `None`, none.

        Returns:
            dict like that of `predict`, with `state_bytes`, bytes, for the next event.

        Raises:
            InputError: the task has no steps, an argument is not a list of strings, the lists
                have different lengths, or a state was made by other weights.
        """
        known = sorted(n.removesuffix(STEP) for n in self._model.signatures if n.endswith(STEP))
        if task not in known:
            raise InputError(
                "`task` should be one that takes single events: "
                f"{', '.join(known) or 'none does'}. Received: `task` = {task!r}."
            )
        items = _strings("items", items)
        states = [b""] * len(items) if states is None else list(states)
        if not all(isinstance(state, bytes) for state in states):
            raise InputError(f"`states` should be a list of bytes. Received: {states!r}.")
        seen = [b""] * len(items) if seen is None else _strings("seen", seen)
        if not len(items) == len(states) == len(seen):
            raise InputError(
                "`items`, `states` and `seen` should be lists of one length. "
                f"Received: {len(items)}, {len(states)} and {len(seen)}."
            )
        try:
            return self._ask(task + STEP, **{STATE: states, "item": items, "seen": seen})
        except tf.errors.InvalidArgumentError as error:
            raise InputError(
                f"`states` should be empty, or what the last step of {task!r} answered. "
                "Received: other bytes."
            ) from error

    def mixed(self, histories: list[str], tasks: list[str]) -> dict:
        """Answers for rows that each name their task, in a model with mixed tasks.

        Args:
            histories: list of str, B, item ids separated by white space.
            tasks: list of str, B names; an unknown one gets an empty answer.

        Returns:
            dict of `labels` and `scores`, `[B, n]`; see `MixedSignature`.

        Raises:
            InputError: there are no mixed tasks, an argument is not a list of strings, or the
                lists have different lengths.
        """
        if MIXED not in self._model.signatures:
            raise InputError("`model` should have mixed tasks. Received: one without.")
        histories, tasks = _strings("histories", histories), _strings("tasks", tasks)
        if len(histories) != len(tasks):
            raise InputError(
                "`histories` and `tasks` should be lists of one length. "
                f"Received: {len(histories)} and {len(tasks)}."
            )
        return self._ask(MIXED, history=histories, task=tasks)

    def _ask(self, signature, **columns):
        fed = {name: tf.constant(rows, tf.string) for name, rows in columns.items()}
        answer = self._model.signatures[signature](**fed)
        return {
            name: tensor.numpy() if name == STATE else _decoded(tensor.numpy())
            for name, tensor in answer.items()
        }


def history_strings(histories: Any) -> list[str]:
    """Histories of any form that `ExportedModel.predict` takes, as strings of item ids.

    Raises:
        InputError: they are of another form.
    """
    columns = getattr(histories, "columns", None)
    if columns is not None:  # a DataFrame
        names = [str(name) for name in columns]
        if "history" not in names and len(names) != 1:
            raise InputError(
                "`histories` should have a column `history`, or one column alone. "
                f"Received: a table with {', '.join(names)}."
            )
        histories = histories["history" if "history" in names else columns[0]]
    if isinstance(histories, (str, bytes)) or not hasattr(histories, "__iter__"):
        raise InputError(
            "`histories` should be a list of histories, one for each user. "
            f"Received: {histories!r}."
        )
    return [_history_string(history) for history in histories]


def _history_string(history):
    if isinstance(history, str):
        return history
    if history is None or history != history:  # None or NaN: what a table has for nothing
        return ""
    if isinstance(history, bytes) or not hasattr(history, "__iter__"):
        raise InputError(
            "`histories` should hold strings of item ids, or lists of them. "
            f"Received: {history!r} in it."
        )
    return " ".join(written(str(item)) for item in history)


def newest_version(path: Any) -> Path:
    """The newest version in a folder with versions; any other path as it is."""
    path = Path(path)
    if (path / "saved_model.pb").is_file() or not path.is_dir():
        return path
    versions = [p for p in path.iterdir() if p.name.isdecimal() and p.is_dir()]
    return max(versions, key=lambda version: int(version.name), default=path)


def _strings(argument, rows):
    """A list of strings as bytes."""
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, str) for row in rows):
        raise InputError(f"`{argument}` should be a list of strings. Received: {rows!r}.")
    # A text that UTF-8 cannot write is in no vocabulary: it becomes an unknown item.
    return [row.encode("utf-8", "replace") for row in rows]


def _decoded(array):
    if array.dtype != object:
        return array
    strings = np.empty(array.shape, dtype=object)
    strings.flat = [value.decode("utf-8") for value in array.flat]
    return strings


def _first_line(error):
    return str(getattr(error, "message", error)).strip().split("\n")[0]
