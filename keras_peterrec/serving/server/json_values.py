"""Values of one tensor, gathered from JSON."""

import numpy as np
from tensorflow.core.framework import types_pb2 as types

from keras_peterrec.serving.server.base64_values import decode_base64
from keras_peterrec.serving.server.dtypes import NUMPY, type_title
from keras_peterrec.serving.server.errors import UNIMPLEMENTED, ServingError, invalid
from keras_peterrec.serving.server.json_text import shown, type_name

_INT32 = (-(2**31), 2**31 - 1)
# TensorFlow Serving checks small integers as the 32 bits that they travel in.
_RANGES = {
    types.DT_INT32: _INT32,
    types.DT_INT16: _INT32,
    types.DT_INT8: _INT32,
    types.DT_UINT8: _INT32,
    types.DT_INT64: (-(2**63), 2**63 - 1),
    types.DT_UINT32: (0, 2**32 - 1),
    types.DT_UINT64: (0, 2**64 - 1),
}
_MOST_DIMENSIONS = 64
_FLOATS = (types.DT_FLOAT, types.DT_DOUBLE)


class JsonValues:
    """A dense tensor in the making.

    Args:
        dtype: int. `DataType` number of the input.

    Attributes:
        shape: list of int.
        values: list, flat: bytes, int, float or bool.

    Example:

    >>> values = JsonValues(DT_FLOAT)
    >>> values.add_column([[1, 2], [3, 4]])
    >>> values.shape, values.values
    ([2, 2], [1, 2, 3, 4])
    """

    def __init__(self, dtype):
        self.dtype = dtype
        self.shape = None
        self.values = []

    def add_plain(self, rows):
        """Takes a whole list of right scalars at once.

        Returns:
            bool. False where `rows` is anything else; nothing is taken then.
        """
        if not self._all_right(rows):
            return False
        self._extend(rows)
        self.shape = []
        return True

    def add_row(self, value):
        """Takes one row, which must be of the shape of those before.

        Raises:
            ServingError: it is not, holds something of another type, or has more dimensions
                than NumPy knows.
        """
        shape, before = _shape(value), len(self.values)
        self._fill(value, shape, 0)
        size = len(self.values) - before
        if self.shape is None:
            self.shape, self.size = shape, size
        elif size != self.size:
            raise invalid("Expecting tensor size: ", self.size, " but got: ", size)
        elif shape != self.shape:
            raise invalid("Expecting shape ", _text(self.shape), " but got: ", _text(shape))

    def add_column(self, value):
        """Takes the whole tensor.

        Raises:
            ServingError: it is ragged, holds something of another type, or has more dimensions
                than NumPy knows.
        """
        self.shape = _shape(value)
        self._fill(value, self.shape, 0)

    def to_array(self):
        """NumPy array of the type that the graph takes; strings are bytes objects.

        Raises:
            ServingError: it has more dimensions than NumPy knows.
        """
        _check_dimensions(self.shape)
        if self.dtype == types.DT_STRING:
            array = np.empty(len(self.values), dtype=object)
            array[:] = self.values
        elif self.dtype in _FLOATS:
            with np.errstate(over="ignore"):
                array = np.array(self.values, np.float64).astype(NUMPY[self.dtype])
        else:
            wide = np.uint64 if self.dtype == types.DT_UINT64 else np.int64
            array = np.array(self.values, wide).astype(NUMPY[self.dtype])
        return array.reshape(self.shape)

    def _fill(self, value, shape, level):
        if not isinstance(value, list):
            if level != len(shape):
                raise invalid(
                    "JSON Value: ",
                    shown(value),
                    " found at incorrect level: ",
                    level + 1,
                    " in the JSON DOM. Expected at level: ",
                    len(shape),
                )
            self._append(value)
            return
        if level >= len(shape):
            raise invalid(
                "Encountered list at unexpected level: ", level, " expected < ", len(shape)
            )
        if len(value) != shape[level]:
            raise invalid(
                "Encountered list at unexpected size: ",
                len(value),
                " at level: ",
                level,
                " expected size: ",
                shape[level],
            )
        if level == len(shape) - 1 and self._all_right(value):
            self._extend(value)
            return
        for item in value:
            self._fill(item, shape, level + 1)

    def _append(self, value):
        if isinstance(value, dict):
            if self.dtype != types.DT_STRING:
                raise self._type_error(value)
            self.values.append(decode_base64(value))
            return
        if self.dtype not in (*_FLOATS, *_RANGES, types.DT_STRING, types.DT_BOOL):
            raise ServingError(
                UNIMPLEMENTED,
                f"Conversion of JSON Value: {shown(value)} to type: {type_title(self.dtype)}",
            )
        if not self._all_right([value]):
            raise self._type_error(value)
        self._extend([value])

    def _all_right(self, values):
        """Whether all of a list are scalars of this type."""
        found = set(map(type, values))
        if self.dtype == types.DT_STRING:
            return found <= {str}
        if self.dtype in _FLOATS:
            return found <= {int, float}
        if self.dtype == types.DT_BOOL:
            return found <= {bool}
        if self.dtype not in _RANGES or not found <= {int}:
            return False
        low, high = _RANGES[self.dtype]
        return not values or (low <= min(values) and max(values) <= high)

    def _extend(self, values):
        if self.dtype == types.DT_STRING:
            values = [value.encode("utf-8", "surrogateescape") for value in values]
        self.values.extend(values)

    def _type_error(self, value):
        return invalid(
            "JSON Value: ",
            shown(value),
            " Type: ",
            type_name(value),
            " is not of expected type: ",
            type_title(self.dtype),
        )


def _shape(value):
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    _check_dimensions(shape)  # also of what is too deep to be looked through
    return shape


def _check_dimensions(shape):
    if len(shape) > _MOST_DIMENSIONS:
        raise invalid(
            "Tensors should have at most ",
            _MOST_DIMENSIONS,
            " dimensions. Received: ",
            len(shape),
        )


def _text(shape):
    return f"[{','.join(map(str, shape))}]"
