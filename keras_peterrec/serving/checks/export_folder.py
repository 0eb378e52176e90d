"""A version directory as the checks see it."""

from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.serving.warmup import PATH, read_warmup, warmup_requests

# Runs when a server loads the model; no client can ask it.
INIT_SIGNATURE = "__saved_model_init_op"


class ExportFolder:
    """What lies in a version directory, each part read when it is first asked for.

    Args:
        path: path of the version directory.

    Example:

    >>> folder = ExportFolder("export/peterrec/1")
    >>> folder.answer("films", folder.samples("films"))["items"].shape
    (4, 10)
    """

    def __init__(self, path):
        self.path = Path(path)

    @cached_property
    def meta_graph(self):
        """The graph with its functions, signatures and assets."""
        content = (self.path / "saved_model.pb").read_bytes()
        (meta_graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
        return meta_graph

    @cached_property
    def signature_defs(self):
        """dict from name to `SignatureDef`, without the one that initialises."""
        named = dict(self.meta_graph.signature_def)
        named.pop(INIT_SIGNATURE, None)
        return named

    @cached_property
    def signatures(self):
        """dict from name to callable."""
        self._model = tf.saved_model.load(str(self.path))  # must outlive its signatures
        return self._model.signatures

    @property
    def askable(self):
        """Names of the signatures with one input of strings, a list of str."""
        inputs = {name: list(s.inputs.values()) for name, s in self.signature_defs.items()}
        return [
            name
            for name, infos in inputs.items()
            if len(infos) == 1 and infos[0].dtype == types_pb2.DT_STRING
        ]

    @cached_property
    def warmup(self):
        """list of (signature, dict from input name to array)."""
        return read_warmup(self.path) if (self.path / PATH).is_file() else []

    def samples(self, name):
        """Different rows of a signature's warm-up requests, or some made up: list of bytes."""
        rows = [
            row
            for signature, inputs in self.warmup
            if signature == name
            for row in next(iter(inputs.values()))
        ]
        if not rows:
            made_up = warmup_requests([name], ["? ?", "", "?"])
            rows = [tf.compat.as_bytes(row) for _, _, batch in made_up for row in batch]
        return list(dict.fromkeys(rows))

    def answer(self, name, batch):
        """What a signature answers to a list of bytes, dict of arrays."""
        (key,) = self.signature_defs[name].inputs
        outputs = self.signatures[name](**{key: tf.constant(batch, tf.string)})
        return {output: _decoded(tensor.numpy()) for output, tensor in outputs.items()}


def _decoded(array):
    if array.dtype != object:
        return array
    texts = [value.decode("utf-8", "replace") for value in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)
