"""Errors of requests, as TensorFlow Serving names and numbers them."""

import re

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16

_NAMES = {number: name for name, number in list(vars().items()) if isinstance(number, int)}

# What TensorFlow appends for programmers: where in the Python that built the graph.
_TRACE = re.compile(r"\s*\n\n(Original stack trace|Detected at node|Errors may have).*", re.DOTALL)
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


class ServingError(Exception):
    """A request that is answered with an error.

    Args:
        code: int. One of the codes above, which are those of gRPC.
        message: str. What the client is told.
        http: int. HTTP status, where it is not the code's own.

    Example:

    >>> ServingError(NOT_FOUND, "Could not find any versions of model nope").http
    404
    """

    def __init__(self, code, message, http=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.http = http or _HTTP.get(code, 500)


def invalid(*parts):
    """A ServingError for a request that cannot be understood."""
    return ServingError(INVALID_ARGUMENT, "".join(map(str, parts)))


def code_name(code):
    """`"NOT_FOUND"` for 5, and so on."""
    return _NAMES.get(code, str(code))


def as_serving_error(error):
    """What a client is told of any exception.

    Args:
        error: Exception. TensorFlow's keep their code and the first part of their
            text; others are internal, and their text stays here.

    Returns:
        ServingError.
    """
    if isinstance(error, ServingError):
        return error
    code, message = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return ServingError(code, _TRACE.sub("", message))
    return ServingError(INTERNAL, f"Internal error: {type(error).__name__}")
