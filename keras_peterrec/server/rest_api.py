"""The REST API below /v1/: which path asks for what, and its answer. HTTP itself is elsewhere."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from keras_peterrec.server.errors import (
    INVALID_ARGUMENT,
    OK,
    ServingError,
    as_serving_error,
    invalid,
)
from keras_peterrec.server.inference import one_string
from keras_peterrec.server.json_answers import (
    write_answer,
    write_classes,
    write_error,
    write_metadata,
    write_regressions,
    write_status,
)
from keras_peterrec.server.json_requests import read_examples, read_inputs, read_object
from keras_peterrec.server.limits import check_values, in_thread_if_large, within
from keras_peterrec.settings.serve import ServeSettings

if TYPE_CHECKING:
    from keras_peterrec.server.inference import Inference
    from keras_peterrec.server.metrics import Metrics
    from keras_peterrec.server.models import Models

PREDICT, CLASSIFY, REGRESS = "predict", "classify", "regress"
STATUS, METADATA = "status", "metadata"

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(rf"{_MODEL}:(classify|regress|predict)")
_GET = re.compile(rf"{_MODEL}(/metadata)?")
_MAX_INT64 = 2**63 - 1


class RestApi:
    """Answers requests of the REST API."""

    def __init__(
        self, models: Models, inference: Inference, metrics: Metrics, settings: ServeSettings
    ) -> None:
        self.models = models
        self.inference = inference
        self.metrics = metrics
        self.seconds = settings.request_timeout
        self.max_values, self.max_rows = settings.max_values, settings.max_rows
        self._calls = {PREDICT: self._predict, CLASSIFY: self._classify, REGRESS: self._regress}

    async def answer(self, method: str, path: str, body: bytes) -> Any:
        """The HTTP status and the JSON of any request; `path` is with the query string."""
        start, route, code = time.perf_counter(), None, OK
        try:
            route = parse_route(method, path)
            if route.call == STATUS:
                return 200, write_status(self.models.status(route.name, route.number))
            if route.call == METADATA:
                version = self._find(route)
                return 200, write_metadata(route.name, version.number, version.definitions)
            return 200, await within(self.seconds, self._calls[route.call](route, body))
        except Exception as error:
            failure = as_serving_error(error)
            code = failure.code
            if isinstance(error, VersionTooLarge):
                return failure.http, b""
            return failure.http, write_error(failure.message)
        finally:
            if route:
                self._record(route, code, time.perf_counter() - start)

    def count_refused(self, method: str, path: str, error: ServingError) -> None:
        """Counts a request that got a ServingError before its body was read."""
        try:
            self._record(parse_route(method, path), error.code, 0)
        except ServingError:
            pass  # no model is asked

    def _record(self, route, code, seconds):
        if route.call in self._calls:
            api = route.call.capitalize()
            self.metrics.record_request(self.models, route.name, api, "REST", code, seconds)

    def _find(self, route):
        return self.models.find(route.name, route.number, route.label)

    async def _predict(self, route, body):
        document, signature_name = await in_thread_if_large(
            len(body), _read_object, body, self.max_values
        )
        with self._find(route).in_use() as version:
            signature = version.find_signature(
                signature_name,
                lambda name: invalid(
                    f'Serving signature name: "{name}" not found in signature def'
                ),
            )
            inputs, layout = await in_thread_if_large(
                len(body), _read_arrays, document, signature, self.max_rows
            )
            arrays = await self.inference.predict(signature, inputs)
            outputs = {
                name: (array, dtype)
                for (name, dtype), array in zip(signature.outputs.items(), arrays, strict=True)
            }
        return write_answer(outputs, layout)

    async def _classify(self, route, body):
        return write_classes(await self._ask(self.inference.classify, route, body))

    async def _regress(self, route, body):
        return write_regressions(await self._ask(self.inference.regress, route, body))

    async def _ask(self, ask, route, body):
        """What examples are answered with; `ask` is a method of Inference."""
        signature_name, given = await in_thread_if_large(
            len(body), _read_examples, body, self.max_values, self.max_rows
        )
        with self._find(route).in_use() as version:
            return await ask(version, signature_name, given)


class VersionTooLarge(ServingError):
    """The version has more than 64 bits. TensorFlow Serving's answer to that has no body."""


@dataclass(frozen=True)
class Route:
    """What a request asks of which model; `call` is `PREDICT`, `STATUS` and so on."""

    call: str
    name: str
    number: int | None = None
    label: str | None = None


def parse_route(method: str, path: str) -> Any:
    """Returns the Route of a method and a path with its query string.

    Raises:
        ServingError: if there is nothing at this path.

    Example:

    >>> parse_route("POST", "/v1/models/peterrec/labels/stable:predict")
    Route(call='predict', name='peterrec', number=None, label='stable')
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    if method == "GET" and path == "/v1/models":
        raise invalid("Missing model name in request.")
    matched = pattern.fullmatch(path) if pattern and path.isascii() else None
    if not matched:
        raise invalid("Malformed request: ", method, " ", path)
    name, number, label, call = matched.groups()
    if method == "GET":
        call = METADATA if call else STATUS
    if number is not None:
        digits = number.lstrip("0") or "0"  # Python refuses numbers of thousands of digits
        if len(digits) > 19 or int(digits) > _MAX_INT64:
            raise VersionTooLarge(INVALID_ARGUMENT, "")
        number = int(digits)
    return Route(call, unquote(name), number, label and unquote(label))


def _read_arrays(document, signature, max_rows):
    try:
        values, layout = read_inputs(document, signature.dtypes, max_rows)
        return {name: value.to_array() for name, value in values.items()}, layout
    except ServingError as error:
        name = _list_for_string(document, signature, max_rows)
        if name is None or error.code != INVALID_ARGUMENT:
            raise
        raise invalid(error.message, ". ", one_string(name)) from error


def _read_object(body, max_values):
    check_values(body, max_values)
    return read_object(body)


def _read_examples(body, max_values, max_rows):
    document, signature_name = _read_object(body, max_values)
    return signature_name, read_examples(document, max_rows)


def _list_for_string(document, signature, max_rows):
    """The name of an input for which a row has a list in place of a string; `None` if none has."""
    rows = document.get("instances")
    if not isinstance(rows, list) or len(rows) > max_rows:
        return None
    for name in signature.texts:
        for row in rows:
            only = len(signature.dtypes) == 1 and not isinstance(row, dict)
            value = row if only else row.get(name) if isinstance(row, dict) else None
            if isinstance(value, list):
                return name
    return None
