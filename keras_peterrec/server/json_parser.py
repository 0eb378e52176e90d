"""From the bytes of a request to Python values, by TensorFlow Serving's rules for JSON.

RapidJSON, which TensorFlow Serving uses too, does the parsing. Five rules are added around it:

- The first value of a repeated key counts; `rapidjson.Decoder` keeps the last one.
- Text after the document is ignored; Python's binding cannot stop where the document ends.
- A byte order mark is allowed.
- Bytes that are not UTF-8 pass through; Python's binding wants to make a `str` of them.
- Errors have TensorFlow Serving's wording.

Objects become dicts and strings become str. In a string, a byte that is not UTF-8 becomes a lone
surrogate, as Python's error handler `surrogateescape` does it.
"""

import codecs
import re

import rapidjson

from keras_peterrec.server.errors import invalid

_PROBLEM = re.compile(r"Parse error at offset (\d+): (.*)", re.DOTALL)
_TRAILING_TEXT = "The document root must not be followed by other values."
# RapidJSON cannot read lone surrogates, so for its sake these bytes become private characters
# (from U+10FD80 on). Only a body that is not UTF-8 and also uses these very characters, which
# Unicode assigns to nothing, would be misread.
_TO_PRIVATE = {0xDC00 + byte: 0x10FD00 + byte for byte in range(0x80, 0x100)}
_FROM_PRIVATE = {private: surrogate for surrogate, private in _TO_PRIVATE.items()}


class _FirstKeyDecoder(rapidjson.Decoder):
    """Keeps the first value of a repeated key."""

    def start_object(self):
        return []  # then `end_object` gets all pairs

    def end_object(self, pairs):
        found = dict(pairs)
        if len(found) < len(pairs):
            found.update(reversed(pairs))
        return found


class _AnyBytesDecoder(_FirstKeyDecoder):
    """Turns the private characters back into surrogates."""

    def string(self, text):
        return text.translate(_FROM_PRIVATE)

    def end_object(self, pairs):
        return super().end_object([(self.string(name), value) for name, value in pairs])


# Not NM_NATIVE, which reads decimals less exactly than Python and TensorFlow do.
_DECODER = _FirstKeyDecoder(number_mode=rapidjson.NM_NAN)
_ANY_BYTES_DECODER = _AnyBytesDecoder(number_mode=rapidjson.NM_NAN)


def parse_json(body):
    """Parses the first JSON document of a body.

    Args:
        body: bytes.

    Returns:
        dict, list, str, int, float, bool or None.

    Raises:
        ServingError: if the body does not begin with a JSON document.

    Example:

    >>> parse_json(b'{"a": 1, "a": 2} and more')
    {'a': 1}
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return _parse(_DECODER, body)
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape").translate(_TO_PRIVATE)
        return _parse(_ANY_BYTES_DECODER, text.encode())


def _parse(decoder, body):
    try:
        return decoder(body)
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        found = _PROBLEM.fullmatch(str(error))
        offset, text = found.groups() if found else (0, str(error))
    if text == _TRAILING_TEXT:
        return decoder(body[: int(offset)])
    raise invalid("JSON Parse error: ", text, " at offset: ", offset)
