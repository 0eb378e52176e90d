"""From tensors to the JSON of an answer, as TensorFlow Serving formats it."""

import base64

import numpy as np

from keras_peterrec.serving.server.dtypes import type_title
from keras_peterrec.serving.server.errors import invalid
from keras_peterrec.serving.server.json_tensors import ROW
from keras_peterrec.serving.server.json_text import decimals, quoted

_INDENT = "    "


def write_answer(outputs, layout):
    """The body that answers a predict request.

    Args:
        outputs: dict from name to (array, `DataType` number). Strings are bytes objects;
            those of an output named `*_bytes` are written as base64.
        layout: `ROW` or `COLUMN`, as the request was.

    Returns:
        bytes.

    Raises:
        ServingError: an output has no batch, another batch, or a type without JSON.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    text = _rows(outputs) if layout == ROW else _columns(outputs)
    return text.encode("utf-8", "surrogateescape")


def write_error(message):
    """The body that tells a client of an error."""
    return f'{{\n    "error": {quoted(message)}\n}}'.encode("utf-8", "surrogateescape")


def write_classes(rows):
    """The body that answers a classify request.

    Args:
        rows: list of lists of (label, score); label is bytes, score a float32.
    """
    if not rows:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    written = [
        "["
        + ", ".join(
            f"[{_string(label)}, {decimals(np.array([score], 'float32'))[0]}]"
            for label, score in row
        )
        + "]"
        for row in rows
    ]
    return _listed("results", written).encode("utf-8", "surrogateescape")


def write_regressions(values):
    """The body that answers a regress request; `values` is float32 `[B]`."""
    if not len(values):
        raise invalid("Cannot convert empty RegressionResults to JSON")
    inner = ", ".join(decimals(np.asarray(values, "float32")))
    return f'{{\n    "results": [{inner}]\n}}'.encode()


def _listed(key, rows):
    """Rows on one line, the closing bracket on its own."""
    inner = ", ".join(rows) + "\n    " if rows else ""
    return f'{{\n    "{key}": [{inner}]\n}}'


def _rows(outputs):
    size = None
    for name, (array, _) in outputs.items():
        if array.ndim == 0:
            raise invalid("Tensor name: ", name, " has no shape information ")
        if size is not None and size != len(array):
            raise invalid(
                "Tensor name: ",
                name,
                " has inconsistent batch size: ",
                len(array),
                " expecting: ",
                size,
            )
        size = len(array)
    columns = {}
    for name, (array, dtype) in outputs.items():
        scalars = _scalars(name, array, dtype, len(outputs) > 1)
        columns[name] = _nested(scalars, array.shape)
    if len(columns) == 1:
        return _listed("predictions", next(iter(columns.values())))
    if not size:
        return '{\n    "predictions": []\n}'
    keys = [f"\n{_INDENT * 3}{quoted(name)}: " for name in columns]
    objects = [
        f"\n{_INDENT * 2}{{{','.join(k + v for k, v in zip(keys, row, strict=True))}\n"
        f"{_INDENT * 2}}}"
        for row in zip(*columns.values(), strict=True)
    ]
    return f'{{\n    "predictions": [{",".join(objects)}\n    ]\n}}'


def _nested(scalars, shape):
    """Texts of the rows of a tensor, each on one line."""
    for size in reversed(shape[1:]):
        count = len(scalars) // size if size else int(np.prod(shape[:-1]))
        scalars = ["[" + ", ".join(scalars[n * size : (n + 1) * size]) + "]" for n in range(count)]
        shape = shape[:-1]
    return scalars


def _columns(outputs):
    if len(outputs) == 1:
        ((name, (array, dtype)),) = outputs.items()
        return f'{{\n    "outputs": {_column(name, array, dtype, 1)}\n}}'
    inner = ",".join(
        f"\n{_INDENT * 2}{quoted(name)}: {_column(name, array, dtype, 2)}"
        for name, (array, dtype) in outputs.items()
    )
    return f'{{\n    "outputs": {{{inner}\n    }}\n}}'


def _column(name, array, dtype, level):
    """Text of a tensor, each value on a line of its own."""
    texts = _scalars(name, array, dtype, False, level + array.ndim)
    shape = array.shape
    for depth in range(array.ndim, 0, -1):
        size = shape[depth - 1]
        before = "\n" + _INDENT * (level + depth)
        after = "\n" + _INDENT * (level + depth - 1)
        count = int(np.prod(shape[: depth - 1]))
        texts = [
            f"[{before}{(',' + before).join(texts[n * size : (n + 1) * size])}{after}]"
            if size
            else "[]"
            for n in range(count)
        ]
    return texts[0]


def _scalars(name, array, dtype, in_object, level=None):
    flat = array.reshape(-1)
    if array.dtype in (np.float32, np.float64):
        return decimals(flat)
    if array.dtype == object:
        if name.endswith("_bytes"):
            if level is None:
                level = 2 + array.ndim - 1 + (1 if in_object else 0)
            return [_base64(value, level) for value in flat.tolist()]
        return [_string(value) for value in flat.tolist()]
    if array.dtype == bool:
        return ["true" if value else "false" for value in flat.tolist()]
    if array.dtype.kind in "iu" and array.dtype != np.uint16:
        return list(map(str, flat.tolist()))
    raise invalid("Failed to write JSON value for tensor type: ", type_title(dtype))


def _string(value):
    return quoted(value.decode("utf-8", "surrogateescape"))


def _base64(value, level):
    before = "\n" + _INDENT * (level + 1)
    return f'{{{before}"b64": "{base64.b64encode(value).decode()}"\n{_INDENT * level}}}'
