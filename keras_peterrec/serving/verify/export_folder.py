"""A version directory as the checks read it."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.files.json_file import read_json
from keras_peterrec.serving.export_files import DESCRIPTION
from keras_peterrec.serving.signature_names import INIT, INTEGERS, STATE
from keras_peterrec.serving.warmup import PATH, read_warmup, sample_rows
from keras_peterrec.types import AnyPath

_HISTORIES = ["? ?", "", "?"]  # for a signature without warm-up requests


class ExportFolder:
    """What lies in a version directory. Each part is read when it is first used.

    Args:
        path: path of the version directory.

    Example:

    >>> folder = ExportFolder("export/peterrec/1")
    >>> folder.answer("films", **folder.samples("films"))["items"].shape
    (4, 10)
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = Path(path)

    @cached_property
    def description(self):
        """What `export` noted of the version, a dict; `None` for another SavedModel."""
        path = self.path / DESCRIPTION
        return read_json(path, "check") if path.is_file() else None

    @cached_property
    def meta_graph(self):
        """The graph with its functions, signatures and assets."""
        content = (self.path / "saved_model.pb").read_bytes()
        (meta_graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
        return meta_graph

    @cached_property
    def signature_defs(self):
        """`{signature: SignatureDef}` of the signatures that clients can ask."""
        named = dict(self.meta_graph.signature_def)
        named.pop(INIT, None)
        return named

    @cached_property
    def signatures(self):
        """`{signature: callable}`."""
        self._model = tf.saved_model.load(str(self.path))  # must outlive its signatures
        return self._model.signatures

    @property
    def askable(self):
        """Names of the signatures that read strings, and integers of our own, a list of str."""
        return [
            name
            for name, signature in self.signature_defs.items()
            if signature.inputs
            and all(
                info.dtype == (types_pb2.DT_INT32 if key in INTEGERS else types_pb2.DT_STRING)
                for key, info in signature.inputs.items()
            )
        ]

    @cached_property
    def warmup(self):
        """list of (signature, dict from input name to array)."""
        return read_warmup(self.path) if (self.path / PATH).is_file() else []

    def samples(self, name: str) -> dict[str, list[Any]]:
        """The different rows of a signature's warm-up requests, or made-up rows.

        Returns:
            dict from input name to list of bytes or int, all of one length.
        """
        keys = sorted(self.signature_defs[name].inputs)
        batches = [inputs for signature, inputs in self.warmup if signature == name]
        if not batches:
            made_up = sample_rows(name, _HISTORIES)
            batches = [{key: made_up.get(key, _HISTORIES) for key in keys}]
        rows = [row for batch in batches for row in zip(*(batch[key] for key in keys))]
        rows = [tuple(map(_plain, row)) for row in rows]
        samples = dict(zip(keys, map(list, zip(*dict.fromkeys(rows)))))
        if STATE not in keys:
            return samples
        # New users, and the same users one event later.
        states = self.answer(name, **samples).get(STATE, samples[STATE])
        return {key: [*rows, *(states if key == STATE else rows)] for key, rows in samples.items()}

    def answer(self, name: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Answers of a signature to a list of bytes or int for each input, a dict of arrays."""
        fed = {
            key: tf.constant(rows, tf.int32 if key in INTEGERS else tf.string)
            for key, rows in inputs.items()
        }
        outputs = self.signatures[name](**fed)
        return {output: decoded(output, tensor.numpy()) for output, tensor in outputs.items()}


def _plain(value):
    return int(value) if isinstance(value, (int, np.integer)) else tf.compat.as_bytes(value)


def decoded(output: str, array: np.ndarray):
    """An array with its strings as str, or as bytes where the output's name ends in `_bytes`."""
    if array.dtype != object or output.endswith("_bytes"):
        return array
    texts = [value.decode("utf-8", "replace") for value in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)
