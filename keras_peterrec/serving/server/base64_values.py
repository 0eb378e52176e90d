"""Strings given as base64, `{"b64": "..."}`."""

import base64
import re

from keras_peterrec.serving.server.errors import invalid
from keras_peterrec.serving.server.json_text import shown

_BASE64 = re.compile(r"([A-Za-z0-9+/]*)(={0,2})")


def is_base64(value):
    """Whether a JSON value is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(value):
    """The bytes of `{"b64": "..."}`.

    Args:
        value: dict. White space is skipped, padding may be left out; the alphabet is the
            standard one, not that of URLs.

    Returns:
        bytes.

    Raises:
        ServingError: `value` is no such object, or the string no base64.
    """
    if not is_base64(value):
        raise invalid("JSON Value: ", shown(value), " not formatted correctly for base64 data")
    found = _BASE64.fullmatch("".join(value["b64"].split()))
    digits, padding = found.groups() if found else ("?", "")
    # A lone digit is no byte, and padding must be right where it is given.
    if not found or len(digits) % 4 == 1 or (padding and (len(digits) + len(padding)) % 4):
        raise invalid("Unable to base64 decode")
    return base64.b64decode(digits + "=" * (-len(digits) % 4))
