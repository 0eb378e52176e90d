"""An exported version in memory."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_peterrec.errors import InputError
from keras_peterrec.serving.signature_names import CLASSIFY
from keras_peterrec.transfer.json_file import check_format, read_json

FORMAT_VERSION = 1
DESCRIPTION = Path("assets.extra") / "peterrec.json"
BUNDLES = Path("assets.extra") / "tasks"


class ExportedModel:
    """Answers from a version directory that `export` wrote.

    Args:
        path: path of the version directory, such as `export/peterrec/1`.
        argument: str. What a message calls `path`. Defaults to `"model"`.

    Raises:
        InputError: `path` is no version directory, or not a whole one.

    Example:

    >>> model = ExportedModel("export/peterrec/1")
    >>> model.predict("films", ["1193 661 914", ""])["items"].shape
    (2, 10)
    """

    def __init__(self, path, argument="model"):
        path = Path(path)
        if not (path / "saved_model.pb").is_file():
            raise InputError(
                f"`{argument}` should be a version directory with saved_model.pb, such as "
                f"export/peterrec/1. Received: {str(path)!r}, which has none."
            )
        # What it was made of: `host` (fingerprint), `host_path`, `max_length`, `k`, `tasks`.
        self.description = read_json(path / DESCRIPTION, argument)
        check_format(self.description, FORMAT_VERSION, argument)
        try:
            self._model = tf.saved_model.load(str(path))
        except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
            raise InputError(
                f"`{argument}` should be a whole SavedModel. "
                f"Received: {str(path)!r}: {_first_line(error)}"
            ) from error

    @property
    def signatures(self):
        """Names that `predict` knows: `serving_default`, `embed` and the tasks."""
        return sorted(name for name in self._model.signatures if not name.endswith(CLASSIFY))

    def predict(self, task, histories):
        """Answers of one signature.

        Args:
            task: str. The name of a task, `"serving_default"` (the next item) or
                `"embed"`.
            histories: list of str, item ids separated by white space.

        Returns:
            dict of arrays, `[B, ...]`: float32, and str where strings are given;
            see `ServedModel`.

        Raises:
            InputError: the task is unknown, or `histories` is no list of strings.
        """
        if task not in self.signatures:
            raise InputError(
                f"`task` should be one of {', '.join(self.signatures)}. "
                f"Received: `task` = {task!r}."
            )
        if not isinstance(histories, (list, tuple)) or not all(
            isinstance(history, str) for history in histories
        ):
            raise InputError(
                f"`histories` should be a list of strings. Received: {histories!r}."
            )
        # What UTF-8 cannot write is in no vocabulary either: an unknown item.
        encoded = [history.encode("utf-8", "replace") for history in histories]
        answer = self._model.signatures[task](history=tf.constant(encoded, tf.string))
        return {name: _decoded(tensor.numpy()) for name, tensor in answer.items()}


def _decoded(array):
    if array.dtype != object:
        return array
    strings = np.empty(array.shape, dtype=object)
    strings.flat = [value.decode("utf-8") for value in array.flat]
    return strings


def _first_line(error):
    return str(getattr(error, "message", error)).strip().split("\n")[0]
