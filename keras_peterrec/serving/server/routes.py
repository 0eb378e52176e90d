"""Paths of the REST API."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from keras_peterrec.serving.server.errors import INVALID_ARGUMENT, ServingError, invalid

PREDICT, CLASSIFY, REGRESS = "predict", "classify", "regress"
STATUS, METADATA = "status", "metadata"

_WHICH = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(rf"{_WHICH}:(classify|regress|predict)")
_GET = re.compile(rf"{_WHICH}(/metadata)?")
_INT64 = 2**63 - 1


class UnusableVersion(ServingError):
    """A version number beyond 64 bits, which is answered without a word."""


@dataclass(frozen=True)
class Route:
    """What a request asks of which model.

    Args:
        call: `PREDICT`, `CLASSIFY`, `REGRESS`, `STATUS` or `METADATA`.
        name: str.
        number: int or None.
        label: str or None.
    """

    call: str
    name: str
    number: int | None = None
    label: str | None = None


def parse_route(method, path):
    """What a request line asks for.

    Args:
        method: str, such as `"POST"`.
        path: str, with the query string if there is one.

    Returns:
        Route.

    Raises:
        ServingError: it asks for nothing that there is.

    Example:

    >>> parse_route("POST", "/v1/models/peterrec/labels/stable:predict")
    Route(call='predict', name='peterrec', number=None, label='stable')
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    if method == "GET" and path == "/v1/models":
        raise invalid("Missing model name in request.")
    found = pattern.fullmatch(path) if pattern and path.isascii() else None
    if not found:
        raise invalid("Malformed request: ", method, " ", path)
    name, number, label, call = found.groups()
    if method == "GET":
        call = METADATA if call else STATUS
    if number is not None:
        digits = number.lstrip("0") or "0"  # Python reads no number of thousands of digits
        if len(digits) > 19 or int(digits) > _INT64:
            raise UnusableVersion(INVALID_ARGUMENT, "")
        number = int(digits)
    return Route(call, unquote(name), number, label and unquote(label))
