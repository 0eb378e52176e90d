"""From the bytes of a request to Python values, by TensorFlow Serving's rules for JSON.

RapidJSON, which TensorFlow Serving uses too, does the parsing. Five rules are added around it:

- The first value of a repeated key counts; `rapidjson.Decoder` keeps the last one.
- Text after the document is ignored; Python's binding cannot stop where the document ends.
- A byte order mark is allowed.
- Bytes that are not UTF-8 pass through; Python's binding wants to make a `str` of them.
- Errors have TensorFlow Serving's wording.

RapidJSON holds Python's lock while it parses, and the loop that answers all clients waits for it.
So a large body is parsed in small pieces with short sleeps between them, in another thread.

Objects become dicts and strings become str. In a string, a byte that is not UTF-8 becomes a lone
surrogate, as Python's error handler `surrogateescape` does it.
"""

import codecs
import re
import time
from typing import Any

import numpy as np
import rapidjson

from keras_peterrec.server.errors import invalid
from keras_peterrec.server.limits import LARGE_BYTES

_PROBLEM = re.compile(r"Parse error at offset (\d+): (.*)", re.DOTALL)
_TRAILING_TEXT = "The document root must not be followed by other values."
# RapidJSON cannot read lone surrogates, so for its sake these bytes become private characters
# (from U+10FD80 on). Only a body that is not UTF-8 and also uses these very characters, which
# Unicode assigns to nothing, would be misread.
_SURROGATES, _PRIVATE = (0xDC80, 0xDCFF), (0x10FD80, 0x10FDFF)
# A piece takes up to half a millisecond. After so much work a sleep lets other threads wake up.
_PIECE_BYTES, _WORK_SECONDS, _PAUSE_SECONDS = 4096, 500e-6, 50e-6


class _FirstKeyDecoder(rapidjson.Decoder):
    """Keeps the first value of a repeated key."""

    def start_object(self):
        return []  # then `end_object` gets all pairs

    def end_object(self, pairs: list[tuple[str, Any]]):
        values = dict(pairs)
        if len(values) < len(pairs):
            values.update(reversed(pairs))
        return values


class _AnyBytesDecoder(_FirstKeyDecoder):
    """Turns the private characters back into surrogates."""

    def string(self, text: str):
        return _shifted(text, _PRIVATE, _SURROGATES)

    def end_object(self, pairs: list[tuple[str, Any]]):
        return super().end_object([(self.string(name), value) for name, value in pairs])


# Not NM_NATIVE, which reads decimals less exactly than Python and TensorFlow do.
_DECODER = _FirstKeyDecoder(number_mode=rapidjson.NM_NAN)
_ANY_BYTES_DECODER = _AnyBytesDecoder(number_mode=rapidjson.NM_NAN)


def parse_json(body: bytes) -> Any:
    """Parses the first JSON document of a body.

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
        return _parse(_ANY_BYTES_DECODER, _as_utf8(body))


class _Pieces:
    """A body as a file that RapidJSON reads piece by piece."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0
        self._since = time.perf_counter()

    def read(self, size: int):
        """Returns the next bytes, at most `size`."""
        if time.perf_counter() - self._since > _WORK_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            self._since = time.perf_counter()
        piece = self._body[self._at : self._at + size]
        self._at += size
        return piece


def _as_utf8(body):
    """The body with private characters in place of bytes that are not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    texts = [decoder.decode(piece) for piece in _pieces(body)] + [decoder.decode(b"", True)]
    return b"".join(_shifted(text, _SURROGATES, _PRIVATE).encode() for text in texts)


def _pieces(whole):
    return (whole[start : start + _PIECE_BYTES] for start in range(0, len(whole), _PIECE_BYTES))


def _shifted(text, found, wanted):
    """Moves the characters of one range to another, in a text of any length quickly."""
    if text.isascii():
        return text
    if len(text) > _PIECE_BYTES:
        return "".join(_shifted(piece, found, wanted) for piece in _pieces(text))
    # By NumPy, since codecs take a microsecond for each lone surrogate. It drops what is null at
    # the end of a text, hence the last character.
    codes = np.array([text + "."]).view("u4")
    codes[(codes >= found[0]) & (codes <= found[1])] += np.uint32((wanted[0] - found[0]) % 2**32)
    return str(codes.view(f"U{len(codes)}")[0])[:-1]


def _decoded(decoder, body):
    if len(body) < LARGE_BYTES:
        return decoder(body)
    return decoder(_Pieces(body), chunk_size=_PIECE_BYTES)


def _parse(decoder, body):
    try:
        return _decoded(decoder, body)
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        problem = _PROBLEM.fullmatch(str(error))
        offset, text = problem.groups() if problem else (0, str(error))
    if text == _TRAILING_TEXT:
        return _decoded(decoder, body[: int(offset)])
    raise invalid("JSON Parse error: ", text, " at offset: ", offset)
