"""TensorFlow's types, TensorProto messages and examples, from and to NumPy."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework import types_pb2 as types

from keras_peterrec.server.errors import invalid

# What TensorFlow Serving calls the tensor of serialized examples.
INPUTS = "inputs"
_TITLES = {"float16": "half", "float32": "float", "float64": "double"}
# A message of a few bytes can say that one value is repeated a billion times.
_MAX_REPEATED = 1 << 20
_FIELDS = {
    types.DT_FLOAT: "float_val",
    types.DT_DOUBLE: "double_val",
    types.DT_STRING: "string_val",
    types.DT_INT64: "int64_val",
    types.DT_BOOL: "bool_val",
    types.DT_UINT32: "uint32_val",
    types.DT_UINT64: "uint64_val",
    types.DT_INT32: "int_val",
    types.DT_INT16: "int_val",
    types.DT_INT8: "int_val",
    types.DT_UINT16: "int_val",
    types.DT_UINT8: "int_val",
}
_READABLE = {*_FIELDS, types.DT_HALF, types.DT_BFLOAT16, types.DT_COMPLEX64, types.DT_COMPLEX128}


class _NumpyTypes(dict):
    def __missing__(self, dtype):
        self[dtype] = tf.dtypes.as_dtype(dtype).as_numpy_dtype
        return self[dtype]


# `DataType` number to NumPy type; strings are objects. Kept, since each request asks.
NUMPY_TYPES = _NumpyTypes()


def type_title(dtype: int) -> str:
    """Returns what TensorFlow Serving's messages call a `DataType` number."""
    try:
        name = tf.dtypes.as_dtype(dtype).name
    except TypeError:
        return "INVALID"
    return _TITLES.get(name, name)


def read_tensor(tensor: Any) -> np.ndarray:
    """The array of a TensorProto; strings are bytes objects.

    Raises:
        ServingError: if the message does not hold what its type and shape promise.
    """
    if tensor.dtype not in _READABLE:
        raise invalid("Tensor proto should be of a type with values. Received: ", tensor.dtype)
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        raise invalid("Tensor proto should have a known shape. Received: ", sizes)
    count = math.prod(sizes)
    if count > max(_MAX_REPEATED, tensor.ByteSize()):
        raise invalid(
            "Tensor proto should hold at most ", _MAX_REPEATED, " values. Received: ", sizes
        )
    if tensor.dtype == types.DT_STRING and not tensor.string_val and not tensor.tensor_content:
        return np.full(sizes, b"", dtype=object)  # TensorFlow's Python would make str of them
    try:
        array = tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise invalid("Could not parse tensor proto: ", str(error).split("\n")[0]) from error
    if array.size != count:
        raise invalid("Tensor proto should hold ", count, " values. Received: ", array.size)
    return array


def write_tensor(array: np.ndarray, dtype: int) -> Any:
    """Returns a TensorProto with typed fields, which every client can read."""
    if dtype not in _FIELDS:
        return tf.make_tensor_proto(array)
    message = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if len(array.shape) == 0:
        message.tensor_shape.SetInParent()
    getattr(message, _FIELDS[dtype]).extend(np.asarray(array).reshape(-1).tolist())
    return message


def read_serialized_examples(given: Any) -> np.ndarray:
    """The serialized examples `[B]` of an `Input`, each merged with the context if it has one.

    Raises:
        ServingError: if there is no example.
    """
    kind = given.WhichOneof("kind")
    examples = list(getattr(given, kind).examples) if kind else []
    if not examples:
        raise invalid("Input is empty.")
    if kind == "example_list_with_context":
        context = given.example_list_with_context.context
        examples = [_with_context(example, context) for example in examples]
    array = np.empty(len(examples), dtype=object)
    array[:] = [example.SerializeToString() for example in examples]
    return array


def _with_context(example, context):
    merged = type(example)()
    merged.CopyFrom(context)
    for name, feature in example.features.feature.items():
        merged.features.feature[name].CopyFrom(feature)
    return merged


def string_sizes(array: np.ndarray) -> Any:
    """Returns the length of each string in an object array, flat."""
    return [len(text) for text in array.reshape(-1).tolist()]


def shape_text(shape: Sequence[int | None]) -> str:
    """Writes a shape as TensorFlow's messages do, such as `[2,3]`."""
    return f"[{','.join(map(str, shape))}]"
