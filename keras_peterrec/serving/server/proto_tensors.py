"""TensorProto messages to arrays and back."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework import types_pb2 as types

from keras_peterrec.serving.server.errors import invalid

# A message can say in a few bytes that one value is repeated.
MAX_REPEATED = 1 << 20
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
_READ = {*_FIELDS, types.DT_HALF, types.DT_BFLOAT16, types.DT_COMPLEX64, types.DT_COMPLEX128}


def read_tensor(tensor):
    """The array of a message, from typed fields or from `tensor_content`.

    Args:
        tensor: TensorProto.

    Returns:
        array; strings are bytes objects.

    Raises:
        ServingError: the message does not hold what its type and shape say.
    """
    if tensor.dtype not in _READ:
        raise invalid("Tensor proto should be of a type with values. Received: ", tensor.dtype)
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        raise invalid("Tensor proto should have a known shape. Received: ", sizes)
    count = math.prod(sizes)
    if count > max(MAX_REPEATED, tensor.ByteSize()):
        raise invalid(
            "Tensor proto should hold at most ", MAX_REPEATED, " values. Received: ", sizes
        )
    try:
        array = tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise invalid("Could not parse tensor proto: ", str(error).split("\n")[0]) from error
    if array.size != count:
        raise invalid("Tensor proto should hold ", count, " values. Received: ", array.size)
    return array


def write_tensor(array, dtype):
    """A message with typed fields, which every client reads.

    Args:
        array: array.
        dtype: int. `DataType` number.

    Returns:
        TensorProto.
    """
    if dtype not in _FIELDS:
        return tf.make_tensor_proto(array)
    message = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if len(array.shape) == 0:
        message.tensor_shape.SetInParent()
    getattr(message, _FIELDS[dtype]).extend(np.asarray(array).reshape(-1).tolist())
    return message
