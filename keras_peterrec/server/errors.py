"""Errors of requests, with TensorFlow Serving's names and numbers."""

import re
from typing import Any

# Numbered as in gRPC.
OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = range(6)
ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = range(6, 10)
ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS = range(10, 16)
UNAUTHENTICATED = 16

_NAMES = {number: name for name, number in list(vars().items()) if isinstance(number, int)}
_HTTP = {
    OK: 200,
    CANCELLED: 499,
    INVALID_ARGUMENT: 400,
    DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404,
    ALREADY_EXISTS: 409,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429,
    FAILED_PRECONDITION: 400,
    ABORTED: 409,
    OUT_OF_RANGE: 400,
    UNIMPLEMENTED: 501,
    UNAVAILABLE: 503,
    UNAUTHENTICATED: 401,
}
# TensorFlow appends where in Python the graph was built; a client has no use for that.
_TRACE = re.compile(r"\s*\n\n(Original stack trace|Detected at node|Errors may have).*", re.DOTALL)


class ServingError(Exception):
    """A request gets an error for an answer.

    Args:
        code: one of the codes above, which are gRPC's.
        message: what the client is told.
        http: HTTP status, if it is not the one that belongs to the code.
    """

    def __init__(self, code: int, message: str, http: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http = http or _HTTP.get(code, 500)


def invalid(*parts: Any) -> ServingError:
    """The error of a request that is wrong; the parts make its message."""
    return ServingError(INVALID_ARGUMENT, "".join(map(str, parts)))


def unknown_signature(name: str) -> ServingError:
    """The error of a request for a signature that a version does not have."""
    return ServingError(FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')


def code_name(code: int) -> str:
    """Returns `"NOT_FOUND"` for 5, and so on."""
    return _NAMES.get(code, str(code))


def as_serving_error(error: BaseException) -> ServingError:
    """Returns the ServingError by which a client is told of an exception.

    TensorFlow's exceptions keep their code and the first part of their text. Others become
    internal errors without a text, which may hold what is not the client's business.
    """
    if isinstance(error, ServingError):
        return error
    code, message = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return ServingError(code, _TRACE.sub("", message))
    return ServingError(INTERNAL, f"Internal error: {type(error).__name__}")
