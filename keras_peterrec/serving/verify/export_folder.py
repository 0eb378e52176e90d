"""A version directory as the checks read it."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.serving.export_files import read_description
from keras_peterrec.serving.signature_names import INIT, STATE
from keras_peterrec.serving.signatures import ask, input_type
from keras_peterrec.serving.warmup import PATH, read_warmup, sample_rows
from keras_peterrec.types import AnyPath

_HISTORIES = ["? ?", "", "?"]  # for a signature without warm-up requests


class ExportFolder:
    """What lies in a version directory. Each part is read when it is first used.

    Example:

    >>> folder = ExportFolder("export/peterrec/1")
    >>> folder.answer("films", **folder.samples("films"))["items"].shape
    (4, 10)
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = Path(path)

    @cached_property
    def description(self):
        return read_description(self.path, "check")

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
        self._model = tf.saved_model.load(str(self.path))  # must outlive its signatures
        return self._model.signatures

    @property
    def askable(self):
        """Names of the signatures that read strings, and integers of our own."""
        return [
            name
            for name, signature in self.signature_defs.items()
            if signature.inputs
            and all(info.dtype == input_type(key) for key, info in signature.inputs.items())
        ]

    @cached_property
    def warmup(self):
        """See `read_warmup`."""
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
        """Answers of a signature to a list of bytes or int for each input."""
        return ask(self.signatures[name], inputs)


def _plain(value):
    return int(value) if isinstance(value, (int, np.integer)) else tf.compat.as_bytes(value)
