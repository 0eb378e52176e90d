"""The slow parser, which knows every rule."""

import math
import re

from keras_peterrec.serving.server.errors import invalid

# A tensor has no more dimensions than this.
MAX_DEPTH = 254
# Python takes seconds for these; others wait meanwhile.
MAX_STEPS = 1 << 19
_SPACE = re.compile(rb"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"(-?)(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]*)?")
_NOT_A_NUMBER = re.compile(rb"(-?)(NaN|Infinity|Inf(?!i))")
_HEX = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_LITERALS = {ord("n"): (b"null", None), ord("t"): (b"true", True), ord("f"): (b"false", False)}
_INT64, _UINT64 = -(2**63), 2**64 - 1
_BOM = b"\xef\xbb\xbf"


class ExactJsonParser:
    """One JSON document; see `json_parser`.

    Args:
        body: bytes.

    Example:

    >>> ExactJsonParser(b"[Inf]").parse()
    [inf]
    """

    def __init__(self, body):
        self.body = body
        self.at = len(_BOM) if body.startswith(_BOM) else 0
        self._steps = 0

    def parse(self):
        """The first document.

        Raises:
            ServingError: it is no JSON; the text names the offset.
        """
        if self._next() is None:
            raise self._error("The document is empty.")
        return self._value(0)

    def _error(self, text, at=None):
        return invalid("JSON Parse error: ", text, " at offset: ", self.at if at is None else at)

    def _next(self):
        """The next byte that is no white space; None at the end."""
        self.at = _SPACE.match(self.body, self.at).end()
        return self.body[self.at] if self.at < len(self.body) else None

    def _step(self):
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self._error(f"More than {MAX_STEPS} values and escapes in what is no plain JSON.")

    def _value(self, depth):
        self._step()
        first = self._next()
        if first == ord('"'):
            return self._string()
        if first in (ord("["), ord("{")):
            if depth == MAX_DEPTH:
                raise self._error(f"Nested deeper than {MAX_DEPTH} levels.")
            return self._array(depth) if first == ord("[") else self._object(depth)
        if first in _LITERALS:
            word, value = _LITERALS[first]
            for byte in word:
                if self.body[self.at : self.at + 1] != bytes([byte]):
                    raise self._error("Invalid value.")
                self.at += 1
            return value
        return self._number()

    def _array(self, depth):
        self.at += 1
        values = []
        if self._next() == ord("]"):
            self.at += 1
            return values
        while True:
            values.append(self._value(depth + 1))
            following = self._next()
            if following not in (ord(","), ord("]")):
                raise self._error("Missing a comma or ']' after an array element.")
            self.at += 1
            if following == ord("]"):
                return values

    def _object(self, depth):
        self.at += 1
        values = {}
        if self._next() == ord("}"):
            self.at += 1
            return values
        while True:
            if self._next() != ord('"'):
                raise self._error("Missing a name for object member.")
            name = self._string()
            if self._next() != ord(":"):
                raise self._error("Missing a colon after a name of object member.")
            self.at += 1
            values.setdefault(name, self._value(depth + 1))  # the first wins
            following = self._next()
            if following not in (ord(","), ord("}")):
                raise self._error("Missing a comma or '}' after an object member.")
            self.at += 1
            if following == ord("}"):
                return values

    def _string(self):
        self.at += 1
        parts = []
        while True:
            plain = _PLAIN.match(self.body, self.at)
            parts.append(plain.group())
            self.at = plain.end()
            byte = self.body[self.at] if self.at < len(self.body) else 0
            if byte == ord('"'):
                self.at += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if byte == 0:
                raise self._error("Missing a closing quotation mark in string.")
            if byte != ord("\\"):
                raise self._error("Invalid encoding in string.")
            parts.append(self._escape())

    def _escape(self):
        self._step()
        start = self.at
        byte = self.body[start + 1] if start + 1 < len(self.body) else 0
        self.at += 2
        if byte in _ESCAPES:
            return bytes([_ESCAPES[byte]])
        if byte != ord("u"):
            raise self._error("Invalid escape character in string.", start)
        point = self._hex(start)
        if 0xD800 <= point <= 0xDFFF:
            low = 0
            if point <= 0xDBFF and self.body[self.at : self.at + 2] == b"\\u":
                self.at += 2
                low = self._hex(start)
            if not 0xDC00 <= low <= 0xDFFF:
                raise self._error("The surrogate pair in string is invalid.", start)
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
        return chr(point).encode("utf-8")

    def _hex(self, start):
        digits = _HEX.match(self.body, self.at)
        if not digits:
            raise self._error("Incorrect hex digit after \\u escape in string.", start)
        self.at = digits.end()
        return int(digits.group(), 16)

    def _number(self):
        start = self.at
        found = _NUMBER.match(self.body, start)
        if not found:
            return self._not_a_number()
        sign, whole, fraction, exponent = found.groups()
        self.at = found.end()
        if fraction == b".":
            raise self._error("Miss fraction part in number.", found.end(3))
        if exponent is not None and not exponent[-1:].isdigit():
            raise self._error("Miss exponent in number.")
        # A whole number of 64 bits has no more digits than this.
        if fraction is None and exponent is None and len(whole) <= 20:
            value = int(sign + whole)
            if _INT64 <= value <= _UINT64:
                return value
        value = float(found.group())
        if math.isinf(value):
            raise self._error("Number too big to be stored in double.", start)
        return value

    def _not_a_number(self):
        found = _NOT_A_NUMBER.match(self.body, self.at)
        if not found:
            raise self._error("Invalid value.")
        self.at = found.end()
        value = math.nan if found.group(2) == b"NaN" else math.inf
        return -value if found.group(1) else value
