"""TensorFlow's types of tensors: names, and NumPy's equals."""

import tensorflow as tf

_TITLES = {"float16": "half", "float32": "float", "float64": "double"}


def type_title(dtype):
    """What TensorFlow Serving calls a `DataType` number."""
    try:
        name = tf.dtypes.as_dtype(dtype).name
    except TypeError:
        return "INVALID"
    return _TITLES.get(name, name)


class _NumpyTypes(dict):
    def __missing__(self, dtype):
        self[dtype] = tf.dtypes.as_dtype(dtype).as_numpy_dtype
        return self[dtype]


# `DataType` number to NumPy type; strings are objects.
NUMPY = _NumpyTypes()
