"""A version directory as the checks see it."""

from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.serving.sample_rows import sample_rows
from keras_peterrec.serving.signature_names import STATE
from keras_peterrec.serving.warmup import PATH, read_warmup

# Runs when a server loads the model; no client can ask it.
INIT_SIGNATURE = "__saved_model_init_op"


class ExportFolder:
    """What lies in a version directory, each part read when it is first asked for.

    Args:
        path: path of the version directory.

    Example:

    >>> folder = ExportFolder("export/peterrec/1")
    >>> folder.answer("films", **folder.samples("films"))["items"].shape
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
        """Names of the signatures that read strings alone, a list of str."""
        inputs = {name: list(s.inputs.values()) for name, s in self.signature_defs.items()}
        return [
            name
            for name, infos in inputs.items()
            if infos and all(info.dtype == types_pb2.DT_STRING for info in infos)
        ]

    @cached_property
    def warmup(self):
        """list of (signature, dict from input name to array)."""
        return read_warmup(self.path) if (self.path / PATH).is_file() else []

    def samples(self, name):
        """Different rows of a signature's warm-up requests, or some made up.

        Returns:
            dict from input name to list of bytes, all of one length.
        """
        keys = sorted(self.signature_defs[name].inputs)
        batches = [inputs for signature, inputs in self.warmup if signature == name]
        if not batches:
            rows = sample_rows(name, ["? ?", "", "?"])
            batches = [{key: rows.get(key, ["? ?", "", "?"]) for key in keys}]
        rows = [row for batch in batches for row in zip(*(batch[key] for key in keys))]
        rows = [tuple(map(tf.compat.as_bytes, row)) for row in rows]
        samples = dict(zip(keys, map(list, zip(*dict.fromkeys(rows)))))
        return self._with_states(name, samples) if STATE in keys else samples

    def _with_states(self, name, samples):
        """New users, and the same users one event later."""
        answer = self.answer(name, **samples)
        states = answer.get(STATE, samples[STATE])
        return {key: [*rows, *(states if key == STATE else rows)] for key, rows in samples.items()}

    def answer(self, name, **inputs):
        """What a signature answers to a list of bytes for each input, dict of arrays."""
        fed = {key: tf.constant(rows, tf.string) for key, rows in inputs.items()}
        outputs = self.signatures[name](**fed)
        return {output: decoded(output, tensor.numpy()) for output, tensor in outputs.items()}


def decoded(output, array):
    """Strings of an output as str; of one whose name ends in `_bytes`, as they are."""
    if array.dtype != object or output.endswith("_bytes"):
        return array
    texts = [value.decode("utf-8", "replace") for value in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)
