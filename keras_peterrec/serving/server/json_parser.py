"""Bytes of a request to values, by the rules of TensorFlow Serving's JSON parser.

They differ from Python's: of a repeated key the first value counts; `NaN`, `Infinity`,
`Inf` and bytes that are no UTF-8 are accepted; what follows the document is ignored;
numbers too large for a double, lone surrogates and control characters are errors, which
name the offset. Python's own scanner, written in C, reads what both read alike; whatever
it stumbles over is read once more by the exact parser.

Objects become dicts, whole numbers ints, other numbers floats, strings str in which
surrogates stand for the bytes that are no UTF-8 (`errors="surrogateescape"`).
"""

import json
import math
import re

from keras_peterrec.serving.server.errors import invalid
from keras_peterrec.serving.server.exact_json_parser import ExactJsonParser

_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_INT64, _UINT64 = -(2**63), 2**64 - 1


class _Exact(Exception):
    """Only the exact parser can tell."""


def parse_json(body):
    """The first JSON document of a body.

    Args:
        body: bytes.

    Returns:
        dict, list, str, int, float, bool or None.

    Raises:
        ServingError: it is no JSON.

    Example:

    >>> parse_json(b'{"a": 1, "a": 2} and more')
    {'a': 1}
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8-sig")  # a mark of the byte order is no part of it
        if "\\u" in text and _SURROGATE.search(text):
            raise _Exact
        return _DECODER.raw_decode(text, _SPACE.match(text).end())[0]
    except (_Exact, ValueError, RecursionError):
        return ExactJsonParser(body).parse()


def _first_wins(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        found = dict(reversed(pairs))
        return {key: found[key] for key, _ in pairs}
    return found


def _integer(text):
    if len(text) < 19:
        return int(text)
    value = int(text) if len(text) < 21 else math.inf
    if _INT64 <= value <= _UINT64:
        return value
    raise _Exact


def _decimal(text):
    value = float(text)
    if math.isinf(value):
        raise _Exact
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins, parse_int=_integer, parse_float=_decimal)
