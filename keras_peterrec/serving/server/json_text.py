"""How TensorFlow Serving writes JSON: numbers, strings, and values in its messages."""

import re
from json.encoder import encode_basestring

import numpy as np

# As much of a client's own JSON as a message repeats.
MAX_SHOWN = 256
_CONTROL = re.compile(r"\\u00[01][a-f]")
_TYPES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}


def quoted(text):
    """A JSON string; only quotes, backslashes and control characters are escaped."""
    text = encode_basestring(text)
    if "\\u00" in text:
        return _CONTROL.sub(lambda found: "\\u00" + found.group()[4:].upper(), text)
    return text


def decimals(values):
    """Floating-point numbers as JSON.

    The shortest of `%.6g` and `%.9g` (`%.17g` for doubles) that reads back the same,
    with `.0` after whole numbers.

    Args:
        values: float32 or float64 array `[N]`.

    Returns:
        list of str.

    Example:

    >>> decimals(np.array([1, 0.2, 9e6, 123456.703], "float32"))
    ['1.0', '0.2', '9e+06', '123456.703']
    """
    digits = 9 if values.dtype.itemsize == 4 else 17
    numbers = values.tolist()
    texts = ["%.6g" % number for number in numbers]  # noqa: UP031
    with np.errstate(over="ignore"):
        exact = np.array(texts, dtype=np.float64).astype(values.dtype) == values
    return [
        _whole(text if same else f"%.{digits}g" % number)
        for text, number, same in zip(texts, numbers, exact.tolist(), strict=True)
    ]


def _whole(text):
    if "." in text or "e" in text:
        return text
    if text[-1].isdigit():
        return text + ".0"
    return {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[text]


def type_name(value):
    """What messages call the type of a JSON value."""
    return str(value) if isinstance(value, bool) else _TYPES[type(value)]


def shown(value):
    """A JSON value as messages repeat it: at most `MAX_SHOWN` bytes of it."""
    parts, left = [], MAX_SHOWN
    for part in _pieces(value, 0):
        parts.append(part[:left])
        left -= len(parts[-1].encode("utf-8", "surrogateescape"))
        if left <= 0:
            break
    text = "".join(parts).encode("utf-8", "surrogateescape")[:MAX_SHOWN]
    return text.decode("utf-8", "surrogateescape")


def _pieces(value, level):
    """Arrays stay on one line, objects do not."""
    if isinstance(value, dict):
        yield "{"
        for n, (key, item) in enumerate(value.items()):
            yield f"{',' if n else ''}\n{' ' * 4 * (level + 1)}{quoted(key[:MAX_SHOWN])}: "
            yield from _pieces(item, level + 1)
        yield f"\n{' ' * 4 * level}}}" if value else "}"
    elif isinstance(value, list):
        yield "["
        for n, item in enumerate(value):
            if n:
                yield ", "
            yield from _pieces(item, level + 1)
        yield "]"
    elif isinstance(value, str):
        yield quoted(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN])
    elif isinstance(value, float):
        single = np.array([value]).astype("float32") if abs(value) < 3.4e38 else None
        yield decimals(single if single is not None and level == 0 else np.array([value]))[0]
    elif value is None or isinstance(value, bool):
        yield {None: "null", True: "true", False: "false"}[value]
    else:
        yield str(value)
