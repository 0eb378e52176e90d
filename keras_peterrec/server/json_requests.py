"""From the JSON of a request to tensors or examples, by TensorFlow Serving's rules."""

import base64
import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2 as types
from tensorflow_serving.apis import input_pb2

from keras_peterrec.server.errors import UNIMPLEMENTED, ServingError, code_name, invalid
from keras_peterrec.server.json_parser import parse_json
from keras_peterrec.server.limits import check_rows
from keras_peterrec.server.tensors import NUMPY_TYPES, shape_text, type_title
from keras_peterrec.types import Json

ROW, COLUMN = "row", "column"

_SHOWN_BYTES = 256  # of the client's JSON, in a message
_BASE64 = re.compile(r"([A-Za-z0-9+/]*)(={0,2})")
_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)
# TensorFlow Serving checks small integers as the 32 bits in which they travel.
_RANGES = {
    types.DT_INT32: _INT32,
    types.DT_INT16: _INT32,
    types.DT_INT8: _INT32,
    types.DT_UINT8: _INT32,
    types.DT_INT64: _INT64,
    types.DT_UINT32: (0, 2**32 - 1),
    types.DT_UINT64: (0, 2**64 - 1),
}
_FLOATS = (types.DT_FLOAT, types.DT_DOUBLE)
_KNOWN_TYPES = {*_RANGES, *_FLOATS, types.DT_STRING, types.DT_BOOL}
_MAX_DIMENSIONS = 64  # NumPy's limit
_JSON_TYPES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def read_object(body: bytes) -> tuple[Json, str]:
    """Parses a request; returns its JSON object, and its `signature_name` or `""`."""
    document = parse_json(body)
    if not isinstance(document, dict):
        raise _wrong(document, " Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        text = " not formatted correctly. 'signature_name' key must be a string value."
        raise _wrong(document, text)
    return document, name


def read_inputs(document: Json, dtypes: Mapping[str, int], max_rows: int | None = None) -> Any:
    """Reads the tensors of a predict request: (TensorValues by name, `ROW` or `COLUMN`).

    Args:
        dtypes: dict from the name of an input to its `DataType` number.
        max_rows: rows of a request, so that no more are looked at; `None` for any.

    Raises:
        ServingError: if the inputs are missing, ragged or of another type.

    Example:

    >>> read_inputs({"instances": ["a b", ""]}, {"history": DT_STRING})[0]["history"].shape
    [2]
    """
    if "instances" in document and "inputs" in document:
        text = (
            " Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
        raise _wrong(document, text)
    if "inputs" in document:
        return _read_columns(document["inputs"], dtypes), COLUMN
    if "instances" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    rows = document["instances"]
    if not isinstance(rows, list):
        raise _wrong(document, " Expecting 'instances' to be an list/array")
    if not rows:
        raise _wrong(document, " No values in 'instances' array")
    check_rows([[len(rows)]], max_rows or len(rows))
    return _read_rows(rows, dtypes), ROW


def read_examples(document: Json, max_rows: int | None = None) -> Any:
    """Reads the examples of a classify or regress request, an `Input` message.

    Raises:
        ServingError: if there are no examples, or a value cannot be part of an example.
    """
    given = input_pb2.Input()
    target = given.example_list
    if "context" in document:
        target = given.example_list_with_context
        _read_example(document["context"], target.context)
    if "examples" not in document:
        text = " When method is classify, key 'examples' is expected and was not found"
        raise _wrong(document, text)
    rows = document["examples"]
    if not isinstance(rows, list):
        raise _wrong(document, " Expecting 'examples' value to be an list/array")
    if not rows:
        raise _wrong(document, " 'examples' value is an empty array")
    check_rows([[len(rows)]], max_rows or len(rows))
    for row in rows:
        _read_example(row, target.examples.add())
    return given


class TensorValues:
    """Gathers the values of one dense tensor from JSON: all at once, or row by row.

    Attributes:
        shape: list of int; of a row, while rows are added.
        values: list of bytes, int, float or bool, flat.
    """

    def __init__(self, dtype: int) -> None:
        self.dtype = dtype
        self.shape: list[int] | None = None
        self.values: list[Any] = []
        self._row_size: int | None = None

    def add_scalars(self, rows: Any) -> bool:
        """Adds all rows if each is a scalar of the right type, which is fast; returns whether."""
        if not self._all_fit(rows):
            return False
        self._extend(rows)
        self.shape = []
        return True

    def add_row(self, value: Any) -> None:
        """Adds one row; raises a ServingError if its type or shape does not fit."""
        shape, before = _shape_of(value), len(self.values)
        self._fill(value, shape, 0)
        size = len(self.values) - before
        if self.shape is None:
            self.shape, self._row_size = shape, size
        elif size != self._row_size:
            raise invalid(f"Expecting tensor size: {self._row_size} but got: {size}")
        elif shape != self.shape:
            texts = shape_text(self.shape), shape_text(shape)
            raise invalid("Expecting shape {} but got: {}".format(*texts))

    def add_column(self, value: Any) -> None:
        """Adds the whole tensor; raises a ServingError if it is ragged or of another type."""
        self.shape = _shape_of(value)
        self._fill(value, self.shape, 0)

    def to_array(self) -> np.ndarray:
        """An array of the type that the graph takes; strings are bytes objects."""
        _check_dimensions(self.shape)
        if self.dtype == types.DT_STRING:
            array = np.empty(len(self.values), dtype=object)
            array[:] = self.values
            return array.reshape(self.shape)
        wide: Any
        if self.dtype in _FLOATS:
            wide = np.float64
        else:
            wide = np.uint64 if self.dtype == types.DT_UINT64 else np.int64
        try:
            array = np.array(self.values, wide)
        except OverflowError:  # an integer of hundreds of digits
            raise invalid("JSON Parse error: Number too big to be stored in double.") from None
        with np.errstate(over="ignore"):  # 1e39 becomes infinite
            return array.astype(NUMPY_TYPES[self.dtype]).reshape(self.shape)

    def _fill(self, value, shape, level):
        if not isinstance(value, list):
            if level != len(shape):
                text = f" found at incorrect level: {level + 1} in the JSON DOM. "
                raise _wrong(value, f"{text}Expected at level: {len(shape)}")
            self._append(value)
            return
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} "
                f"expected size: {shape[level]}"
            )
        if level == len(shape) - 1 and self._all_fit(value):
            self._extend(value)
            return
        for item in value:
            self._fill(item, shape, level + 1)

    def _append(self, value):
        title = type_title(self.dtype)
        if isinstance(value, dict) and self.dtype == types.DT_STRING:
            self.values.append(_decode_base64(value))
        elif self.dtype not in _KNOWN_TYPES and not isinstance(value, dict):
            text = f"Conversion of JSON Value: {_shown(value)} to type: {title}"
            raise ServingError(UNIMPLEMENTED, text)
        elif self._all_fit([value]):
            self._extend([value])
        else:
            text = f" Type: {_json_type(value)} is not of expected type: {title}"
            raise _wrong(value, text)

    def _all_fit(self, values):
        """Whether all values are scalars of this tensor's type."""
        types_of_values = set(map(type, values))
        if self.dtype == types.DT_STRING:
            return types_of_values <= {str}
        if self.dtype in _FLOATS:
            return types_of_values <= {int, float}
        if self.dtype == types.DT_BOOL:
            return types_of_values <= {bool}
        if self.dtype not in _RANGES or not types_of_values <= {int}:
            return False
        low, high = _RANGES[self.dtype]
        return not values or (low <= min(values) and max(values) <= high)

    def _extend(self, values):
        if self.dtype == types.DT_STRING:
            values = [value.encode("utf-8", "surrogateescape") for value in values]
        self.values.extend(values)


def _read_rows(rows, dtypes):
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if _is_object(rows[0]):
        tensors = _read_object_rows(rows, dtypes)
    else:
        name = next(iter(dtypes))
        tensors = {name: TensorValues(dtypes[name])}
        if not tensors[name].add_scalars(rows):
            for n, row in enumerate(rows):
                if _is_object(row):
                    raise invalid(f"Expecting value/list but got object at item {n} of input list")
                _add_row(tensors, name, row, n)
    for values in tensors.values():
        values.shape = [len(rows), *values.shape]
    return tensors


def _read_object_rows(rows, dtypes):
    tensors = {name: TensorValues(dtype) for name, dtype in dtypes.items()}
    for n, row in enumerate(rows):
        if not _is_object(row):
            raise invalid(f"Expecting object but got list at item {n} of input list")
        for name, value in row.items():
            _add_row(tensors, name, value, f"{n} key: {name}")
        if len(row) < len(dtypes):
            raise invalid(
                f"Failed to process element: {n} of 'instances' list. JSON object: {_shown(row)} "
                f"keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return tensors


def _add_row(tensors, name, value, place):
    try:
        if name not in tensors:
            raise invalid(f"JSON object: does not have named input: {name}")
        tensors[name].add_row(value)
    except ServingError as error:
        raise invalid(
            f"Failed to process element: {place} of 'instances' list. "
            f"Error: {code_name(error.code)}: {error.message}"
        ) from error


def _read_columns(given, dtypes):
    if not _is_object(given):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        given = {next(iter(dtypes)): given}
    tensors = {}
    for name, dtype in dtypes.items():
        if name not in given:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        tensors[name] = TensorValues(dtype)
        tensors[name].add_column(given[name])
    return tensors


def _read_example(value, example):
    """Fills an `Example` message from a JSON object."""
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_json_type(value)}")
    example.SetInParent()  # a context may be empty
    for name, content in value.items():
        # Protobuf's strings are UTF-8; no model has a feature with another name.
        feature = example.features.feature[name.encode("utf-8", "replace").decode()]
        for item in content if isinstance(content, list) else [content]:
            kind, item = _read_feature_value(name, item)
            found = feature.WhichOneof("kind")
            if found not in (None, kind):
                wanted = found.removesuffix("_list")
                raise invalid(
                    f"Unexpected element type in feature: {name} expecting type: {wanted}"
                )
            getattr(feature, kind).value.append(item)


def _read_feature_value(name, value):
    if isinstance(value, str):
        return "bytes_list", value.encode("utf-8", "surrogateescape")
    if _is_base64(value):
        return "bytes_list", _decode_base64(value)
    if isinstance(value, float):
        return "float_list", value
    if isinstance(value, int):
        if not _INT64[0] <= value <= _INT64[1]:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", int(value)
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}")


def _is_object(value):
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value):
    """Whether a JSON value is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _decode_base64(value):
    """Decodes `{"b64": "..."}`: the standard alphabet, padding optional, white space skipped."""
    if not _is_base64(value):
        raise _wrong(value, " not formatted correctly for base64 data")
    matched = _BASE64.fullmatch("".join(value["b64"].split()))
    digits, padding = matched.groups() if matched else ("?", "")
    # One digit alone is less than a byte, and padding must be right if it is there.
    if not matched or len(digits) % 4 == 1 or (padding and (len(digits) + len(padding)) % 4):
        raise invalid("Unable to base64 decode")
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def _shape_of(value):
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    _check_dimensions(shape)  # before anything recurses into it
    return shape


def _check_dimensions(shape):
    if len(shape) > _MAX_DIMENSIONS:
        raise invalid(
            f"Tensors should have at most {_MAX_DIMENSIONS} dimensions. "
            f"Received: {len(shape)} dimensions."
        )


def _wrong(value, text):
    return invalid("JSON Value: ", _shown(value), text)


def _shown(value):
    """A JSON value as messages repeat it: at most 256 bytes of it."""
    text = ""
    # Piece by piece: a message must not cost as much as the request. TensorFlow Serving's writer
    # stops at a number that is not finite, so of NaN alone it shows nothing. Python's stops where
    # objects are nested too deeply.
    with contextlib.suppress(ValueError, RecursionError):
        for piece in json.JSONEncoder(ensure_ascii=False, allow_nan=False).iterencode(value):
            text += piece[:_SHOWN_BYTES]
            if len(text) >= _SHOWN_BYTES:
                break
    shortened = text.encode("utf-8", "surrogateescape")[:_SHOWN_BYTES]
    return shortened.decode("utf-8", "surrogateescape")


def _json_type(value):
    """What messages call the type of a JSON value."""
    return str(value) if isinstance(value, bool) else _JSON_TYPES.get(type(value), "Null")
