"""From tensors, states and messages to the JSON of an answer."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_status_pb2

from keras_peterrec.server.errors import invalid
from keras_peterrec.server.json_requests import ROW
from keras_peterrec.server.tensors import type_title


def write_answer(outputs: Mapping[str, tuple[np.ndarray, int]], layout: str) -> bytes:
    """Writes the answer to a predict request.

    Args:
        outputs: dict from name to (array, `DataType` number). Strings are bytes objects; those
            of an output named `*_bytes` are written as base64.
        layout: `ROW` or `COLUMN`, as the request had it.

    Raises:
        ServingError: if an output has no batch dimension, another batch size than the others,
            or a type that JSON does not have.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if layout == ROW:
        _check_batch(outputs)
    values = {name: _values(name, *output) for name, output in outputs.items()}
    if len(values) == 1:
        (answer,) = values.values()
    elif layout == ROW:
        answer = [dict(zip(values, row)) for row in zip(*values.values(), strict=True)]
    else:
        answer = values
    return _json({"predictions" if layout == ROW else "outputs": answer})


def write_error(message: str) -> bytes:
    """Writes the answer that tells a client of an error."""
    return _json({"error": message})


def write_classes(rows: Any) -> bytes:
    """Writes the answer to a classify request, from the (label, score) pairs of each row."""
    if not rows:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    results = []
    for row in rows:
        scores = _decimals(np.array([score for _, score in row], "float32"))
        results.append([[_text(label), score] for (label, _), score in zip(row, scores.tolist())])
    return _json({"results": results})


def write_regressions(values: Any) -> bytes:
    """Writes the answer to a regress request; `values` is float32 `[B]`."""
    if not len(values):
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return _json({"results": _decimals(np.asarray(values, "float32")).tolist()})


def status_message(states: Any) -> Any:
    """Returns a `GetModelStatusResponse` of a list of VersionState."""
    message = get_model_status_pb2.GetModelStatusResponse()
    for state in states:
        added = message.model_version_status.add(version=state.number, state=state.state)
        added.status.error_code = state.code
        added.status.error_message = state.message
    return message


def write_status(states: Any) -> bytes:
    """Writes the answer to a status request, from a list of VersionState."""
    return _json(_fields(status_message(states)))


def write_metadata(name: str, number: int, definitions: Any) -> bytes:
    """Writes the answer to a metadata request; `definitions` are SignatureDefs by name."""
    signatures = {key: _fields(definition) for key, definition in definitions.items()}
    return _json(
        {
            "model_spec": {"name": name, "version": str(number), "signature_name": ""},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
    )


def _json(value):
    # RapidJSON cannot write this: a string may hold bytes that are not UTF-8.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _fields(message):
    """A message as a dict, also with the fields that have their default value."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _check_batch(outputs):
    size = None
    for name, (array, _) in outputs.items():
        if array.ndim == 0:
            raise invalid("Tensor name: ", name, " has no shape information ")
        if size is not None and size != len(array):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)


def _values(name, array, dtype):
    """A tensor as nested lists of what JSON has."""
    if array.dtype == np.float32:
        return _decimals(array).tolist()
    if array.dtype == object:
        written = _base64 if name.endswith("_bytes") else _text
        texts = np.empty(array.size, object)
        texts[:] = [written(value) for value in array.reshape(-1).tolist()]
        return texts.reshape(array.shape).tolist()
    # TensorFlow Serving lacks uint16 and the short floating-point types.
    if array.dtype in (np.float64, bool) or (array.dtype.kind in "iu" and array.dtype != np.uint16):
        return array.tolist()
    raise invalid("Failed to write JSON value for tensor type: ", type_title(dtype))


def _text(value):
    return value.decode("utf-8", "surrogateescape")


def _base64(value):
    return {"b64": base64.b64encode(value).decode()}


def _decimals(values):
    """Float32 values as doubles that are written with few digits.

    Python would write float32(0.2) as 0.20000000298023224. As TensorFlow Serving does, each value
    gets 6 digits, or 9 where 6 do not read back as the same float32.
    """
    flat = values.reshape(-1)
    numbers = flat.tolist()
    with np.errstate(over="ignore"):
        decimals = np.array([float("%.6g" % number) for number in numbers])  # noqa: UP031
        inexact = decimals.astype(np.float32) != flat
    for n in np.flatnonzero(inexact).tolist():
        decimals[n] = float("%.9g" % numbers[n])  # noqa: UP031
    return decimals.reshape(values.shape)
