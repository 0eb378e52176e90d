"""Signatures as TensorFlow has them: functions whose inputs are strings or int32 `[B]`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_peterrec.serving.signature_names import INTEGERS, input_names


def input_type(name: str) -> tf.DType:
    """The type of an input of this name."""
    return tf.int32 if name in INTEGERS else tf.string


def concrete(function: Callable[..., Any], signature: str) -> Any:
    """The function, traced with the inputs that a signature of this name has."""
    specs = [tf.TensorSpec([None], input_type(key), name=key) for key in input_names(signature)]
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def ask(signature: Callable[..., Any], inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Answers of a loaded signature to a list or an array for each input; see `decoded`."""
    answer = signature(**{key: tf.constant(rows, input_type(key)) for key, rows in inputs.items()})
    return {output: decoded(output, tensor.numpy()) for output, tensor in answer.items()}


def decoded(output: str, array: np.ndarray) -> np.ndarray:
    """An array with its strings as str, or as bytes where the output's name ends in `_bytes`."""
    if array.dtype != object or output.endswith("_bytes"):
        return array
    texts = [value.decode("utf-8", "replace") for value in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)
