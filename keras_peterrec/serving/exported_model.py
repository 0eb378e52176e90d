"""A version directory as a Python object that answers."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_peterrec.errors import InputError, check_count, refuse
from keras_peterrec.files.json_file import read_format
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.histories import (
    EachItems,
    EachTimes,
    Histories,
    HistoryForms,
    items_for_each,
)
from keras_peterrec.log.user_fields import UserFields
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.serving.export_files import (
    DESCRIPTION,
    FORMAT_VERSION,
    changed_assets,
    newest_version,
)
from keras_peterrec.serving.graph_safety import unsafe_part
from keras_peterrec.serving.signature_names import (
    COUNTS,
    EMBED,
    INTEGERS,
    KEEP_SEEN,
    KNOWN,
    KNOWN_EVENTS,
    MIXED,
    NEXT_ITEM,
    SELECT,
    SIMILAR,
    STATE,
    STEP,
    K,
)
from keras_peterrec.serving.signatures import ask
from keras_peterrec.types import AnyPath

_DAMAGES = (DecodeError, tf.errors.OpError)


class ExportedModel:
    """Answers from a version directory that `export` wrote.

    Args:
        path: path of the version directory, such as `export/peterrec/1`; or of the folder with
            versions, for the newest.
        argument: str. What messages call `path`. Defaults to `"model"`.
        trust: bool. Whether to load a model whose graph has operations that our exports do not
            use and that may read or write files, or run other programs. Defaults to `False`.

    Raises:
        InputError: `path` is not a version directory, files in it are missing or changed, or its
            graph may do more than compute.

    Example:

    >>> model = ExportedModel("export/peterrec/1")
    >>> model.predict("films", ["1193 661 914", ""])["items"].shape
    (2, 10)
    """

    def __init__(self, path: AnyPath, argument: str = "model", trust: bool = False) -> None:
        path = self._path = newest_version(path)
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
            problem = None if trust else unsafe_part(path)
            if problem is None:
                self._model = tf.saved_model.load(str(path))
        # TensorFlow's reader of weights calls a file cut short an IndexError.
        except (OSError, ValueError, RuntimeError, LookupError, *_DAMAGES) as error:
            raise InputError(
                f"`{argument}` should be a whole SavedModel. Received: {str(path)!r}, whose files "
                f"are damaged or cut short ({_first_line(error)}). Copy it or export it again; "
                "`export --check` says more."
            ) from error
        if problem is not None:
            raise InputError(
                f"`{argument}` should be a model that does no more than compute, or be trusted "
                f"(--trust, in Python trust=True). Received: {str(path)!r}, {problem}."
            )

    @property
    def signatures(self) -> list[str]:
        """Names that `predict` knows: `serving_default`, `embed` and the tasks."""
        return sorted(
            name
            for name, signature in self._model.signatures.items()
            if list(signature.structured_input_signature[1]) == ["history"] and name != KNOWN
        )

    def fields(self, task: str) -> EventFields:
        """What is read of an event beside its item, for a task or for the next item."""
        fields = EventFields.from_config(self.description["fields"])
        if task in (NEXT_ITEM, EMBED):
            return fields
        own = self.description["tasks"].get(task, {}).get("own_fields", [])
        return fields.of_task(EventFields.from_config(own))

    def user_fields(self, task: str) -> UserFields:
        """Which columns of users a task reads."""
        said = self.description["tasks"].get(task, {})
        return UserFields.from_config(said.get("user_fields", []))

    def units(self, task: str) -> str:
        """What the numbers are that a task answers with.

        Returns:
            `"score"` (a logit: the higher the better, no probability), `"probability"`,
            `"number"`, or `"vector"`.
        """
        if task == EMBED:
            return "vector"
        return self.description["tasks"].get(task, {"unit": "score"})["unit"]

    def predict(
        self, task: str, histories: HistoryForms, times: EachTimes | None = None
    ) -> dict[str, np.ndarray]:
        """Answers of one signature.

        Args:
            task: str. The name of a task, `"serving_default"` (the next item) or
                `"embed"`.
            histories: B histories, in any form that `Histories` names.
            times: the times of their events; see `Histories`. Defaults to `None`.

        Returns:
            dict of arrays, `[B, ...]`: float32, and str where strings are given; see
            `ServingModule`. Also `known_events` and `events`, int32 `[B]`: how many events of each
            history the model knows, and of how many; and `user_id` of a table that has it.

        Raises:
            InputError: the task is unknown, or `histories` holds something else.
        """
        if task not in self.signatures:
            refuse("task", f"one of {', '.join(self.signatures)}", task)
        users, texts = self._users_and_texts(task, histories, times)
        answer = users | self._ask(task, history=texts)
        return answer if KNOWN_EVENTS in answer else answer | self._ask(KNOWN, history=texts)

    def recommend(
        self,
        histories: HistoryForms,
        k: int = 10,
        *,
        task: str = NEXT_ITEM,
        allow: EachItems = "",
        deny: EachItems = "",
        keep_seen: bool | Sequence[bool | None] | None = None,
        times: EachTimes | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` items of each history: the same call as of a Task or a Host in Python.

        Args:
            task: str. The name of a task that recommends. Defaults to `"serving_default"`, the next
                item.
            histories, k, allow, deny, keep_seen: see `Task.recommend`; `k` is at most as many as
                the export answers with.
            times: see `predict`. Defaults to `None`.

        Returns:
            Items (str) and scores (float32), `[B, k]` each, as `Task.recommend` gives them.

        Raises:
            InputError: the task does not recommend, or an argument has another form.
        """
        most = self.description["k"]
        if check_count("k", k) > most:
            refuse("k", f"at most {most}, as many items as the model was exported with", k)
        answer = self.select(task, histories, allow, deny, keep_seen=keep_seen, times=times)
        return answer["items"][:, :k], answer["scores"][:, :k]

    def select(
        self,
        task: str,
        histories: HistoryForms,
        allow: EachItems = "",
        deny: EachItems = "",
        k: int | Sequence[int] = 0,
        keep_seen: bool | Sequence[bool | None] | None = None,
        times: EachTimes | None = None,
    ) -> dict[str, np.ndarray]:
        """Recommendations from what each request allows, in the outputs of the signature.

        Each argument after `histories` is one value for all of them, or a list of one for each.
        `recommend` asks the same, and answers as a Task does.

        Args:
            task: str. The name of a task that recommends.
            histories: B histories, in one of the forms of `predict`; or a list of dict, rows as in
                a request: `history`, and those of the arguments below that are asked for.
            allow: str or list of str. Only these items, ids separated by white space or a list of
                them. Defaults to `""`, all.
            deny: str or list of str. None of these items. Defaults to `""`.
            k: int. How many items, at most as many as the export answers with. Defaults to `0`,
                so many.
            keep_seen: bool. Whether items of the history may be recommended. Defaults to `None`:
                as the task does, see `description["keep_seen"]`.
            times: see `predict`. Defaults to `None`.

        Returns:
            dict of `items` and `scores`, `[B, n]`; places that are left are `""`.

        Raises:
            InputError: the task does not recommend, or an argument is of another type or length.
        """
        self._check_task(task, SELECT, "that recommends")
        wishes: dict[str, Any] = {"allow": allow, "deny": deny, K: k, KEEP_SEEN: keep_seen}
        if isinstance(histories, (list, tuple)) and any(isinstance(h, dict) for h in histories):
            histories, wishes = _columns(histories, wishes)
        users, texts = self._users_and_texts(task, histories, times)
        columns = {
            name: _strings(name, items_for_each(wishes[name], len(texts), name))
            for name in ("allow", "deny")
        }
        columns[K] = _repeated(wishes[K], (int, np.integer), texts)
        columns[KEEP_SEEN] = _repeated(wishes[KEEP_SEEN], (bool, np.bool_, type(None)), texts)
        for name in INTEGERS:
            values = columns[name]
            if len(values) != len(texts):
                raise InputError(
                    f"`{name}` should be one value, or one for each history. "
                    f"Received: {len(values)} for {len(texts)} histories."
                )
            columns[name] = [_whole(name, value) for value in values]
        return users | self._ask(task + SELECT, history=texts, **columns)

    def similar(self, items: list[str]) -> dict[str, np.ndarray]:
        """The items most like some items; see `SimilarItems`.

        Args:
            items: list of str, B, an item's id each, or several separated by white space.

        Returns:
            dict of `items` and `scores` (cosines), `[B, k]`.

        Raises:
            InputError: `items` is not a list of strings.
        """
        return self._ask(SIMILAR, items=_strings("items", items))

    def step(
        self,
        task: str,
        items: list[str],
        states: list[bytes] | None = None,
        seen: list[str] | None = None,
    ) -> dict[str, np.ndarray]:
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
        self._check_task(task, STEP, "that takes single events")
        events = _strings("items", items)
        states = [b""] * len(events) if states is None else list(states)
        if not all(isinstance(state, bytes) for state in states):
            refuse("states", "a list of bytes", states)
        hidden = [b""] * len(events) if seen is None else _strings("seen", seen)
        if not len(events) == len(states) == len(hidden):
            raise InputError(
                "`items`, `states` and `seen` should be lists of one length. "
                f"Received: {len(events)}, {len(states)} and {len(hidden)}."
            )
        try:
            return self._ask(task + STEP, **{STATE: states, "item": events, "seen": hidden})
        except tf.errors.InvalidArgumentError as error:
            raise InputError(
                f"`states` should be empty, or what the last step of {task!r} answered. "
                "Received: other bytes."
            ) from error

    def mixed(self, histories: HistoryForms, tasks: list[str]) -> dict[str, np.ndarray]:
        """Answers for rows that each name their task, in a model with mixed tasks.

        Args:
            histories: B histories, in one of the forms of `predict`.
            tasks: list of str, B names; an unknown one gets an empty answer.

        Returns:
            dict of `labels` and `scores`, `[B, n]`; see `MixedSignature`.

        Raises:
            InputError: there are no mixed tasks, an argument has another form, or there are more or
                fewer tasks than histories.
        """
        if MIXED not in self._model.signatures:
            raise InputError("`model` should have mixed tasks. Received: one without.")
        users, texts = self._users_and_texts(MIXED, histories)
        named = _strings("tasks", tasks)
        if len(texts) != len(named):
            raise InputError(
                "`tasks` should be one for each history. "
                f"Received: {len(named)} for {len(texts)} histories."
            )
        return users | self._ask(MIXED, history=texts, task=named)

    @cached_property
    def _vocabulary(self):
        """The Vocabulary of the source log, whose row numbers histories may be."""
        assets = self._path / "assets"
        answered = assets / "vocabulary_as_answered.txt"  # where items have white space
        return Vocabulary.load(answered if answered.is_file() else assets / "vocabulary.txt")

    def _users_and_texts(self, task, histories, times=None):
        """A dict of `user_id` where histories say whose they are, and the histories as bytes."""
        histories = Histories(histories, times=times)
        users = {} if histories.user_ids is None else {"user_id": histories.user_ids}
        texts = histories.texts(lambda: self._vocabulary, self.fields(task))
        return users, _strings("histories", texts)

    def _check_task(self, task, ending, what):
        """Raises InputError if a task has no signature that ends so."""
        names = sorted(n.removesuffix(ending) for n in self._model.signatures if n.endswith(ending))
        if task not in names:
            refuse("task", f"one {what}: {', '.join(names) or 'none does'}", task)

    def _ask(self, signature, **columns):
        answer = ask(self._model.signatures[signature], columns)
        # Sorted, since TensorFlow loads them in another order in every process.
        return {name: answer[name] for name in sorted(answer, key=lambda n: (n in COUNTS, n))}


def _columns(rows, defaults):
    """Rows, dicts with some of the inputs, as histories and a list for each other input."""
    for row in rows:
        if not isinstance(row, dict) or "history" not in row or set(row) - {"history", *defaults}:
            raise InputError(
                "`histories` should be dicts with `history` and those of "
                f"{', '.join(defaults)} that are asked for. Received: {row!r} in it."
            )
    wishes = {name: [row.get(name, value) for row in rows] for name, value in defaults.items()}
    return [row["history"] for row in rows], wishes


def _strings(argument, rows):
    """A list of strings as bytes."""
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, str) for row in rows):
        refuse(argument, "a list of strings", rows)
    # A text that UTF-8 cannot write is in no vocabulary: it becomes an unknown item.
    return [row.encode("utf-8", "replace") for row in rows]


def _repeated(value, kind, rows):
    """One value for each row, where one was given for all."""
    return [value] * len(rows) if isinstance(value, kind) else value


def _whole(name, value):
    if name == KEEP_SEEN and value is None:
        return -1  # as the task was trained
    if not isinstance(value, (int, np.integer, np.bool_)) or not 0 <= value < 2**31:
        raise InputError(
            f"`{name}` should be {'True or False' if name == KEEP_SEEN else 'at least 0'}. "
            f"Received: `{name}` = {value!r}."
        )
    return int(value)


def _first_line(error):
    return str(getattr(error, "message", error)).strip().split("\n")[0]
