"""HTTP: an ASGI application without a framework, which would cost more time than the rest."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_peterrec.server.errors import (
    DEADLINE_EXCEEDED,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    ServingError,
)
from keras_peterrec.server.json_answers import write_error
from keras_peterrec.server.limits import LARGE_BYTES, ByteBudget, in_thread_if_large
from keras_peterrec.settings.serve import ServeSettings
from keras_peterrec.types import Json

if TYPE_CHECKING:
    from keras_peterrec.server.browser_page import BrowserPage
    from keras_peterrec.server.metrics import Metrics
    from keras_peterrec.server.rest_api import RestApi

METRICS_PATH = "/monitoring/prometheus/metrics"
_JSON = b"application/json"
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n"
    b"<H1>Not Found</H1>\n</BODY></HTML>\n"
)
_CLOSE = (b"connection", b"close")
_HOST = re.compile(r"\[([^\]]*)\]|([^:]*)")  # before its port
_FOREIGN_HOST = (
    "The server listens on this machine alone and answers to its names, such as localhost; behind "
    "a proxy start it with --proxy-host NAME"
)
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
]


class ClientGone(Exception):
    """The client hung up before its request was complete."""


class Application:
    """The ASGI application: the REST API, the metrics and the page."""

    def __init__(
        self, api: RestApi, metrics: Metrics, page: BrowserPage, settings: ServeSettings
    ) -> None:
        self.api = api
        self.metrics = metrics
        self.page = page
        self.settings = settings
        self._active = 0
        # What only this machine may ask is asked under a name of this machine. A web page that has
        # its own name lead here (DNS rebinding) is read by the browser as if it were ours.
        self._hosts = None
        if is_loopback(settings.host):
            self._hosts = {settings.host.lower(), *(name.lower() for name in settings.proxy_host)}
        self._budget = ByteBudget(settings.max_waiting_bytes, "Too many bytes at a time")

    async def __call__(
        self, scope: Json, receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        self._active += 1
        try:
            # The body is counted until the answer is there: its arrays take as much memory.
            with self._budget.share() as hold:
                status, kind, body, more = await self._answer(scope, receive, hold)
        except ClientGone:
            return
        finally:
            self._active -= 1
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            *more,
            *(_CORS if self.settings.cors else ()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope, receive, hold):
        """(status, content type, body, more headers)."""
        method = scope["method"]
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        headers = dict(scope["headers"])
        if self._hosts is not None and not self._is_ours(headers.get(b"host")):
            return 403, _JSON, write_error(_FOREIGN_HOST), [_CLOSE]
        if method == "OPTIONS":
            origin = headers.get(b"origin", b"")
            is_origin = origin.startswith((b"http://", b"https://"))
            return 200 if is_origin else 400, b"text/html; charset=ISO-8859-1", b"", []
        if path[:4].lower() != "/v1/":
            return self._answer_outside_api(method, path)
        try:
            # Uvicorn counts connections; a client that has gone may leave its request running.
            if self._active > self.settings.max_connections:
                raise ServingError(UNAVAILABLE, "Too many requests at a time")
            body = await _read_body(headers, receive, self.settings, hold)
        except ServingError as error:
            self.api.count_refused(method, path, error)
            # The rest of the body is not read, so the connection cannot be used again.
            more = [_CLOSE] if error.http in (408, 413, 503) else []
            return error.http, _JSON, write_error(error.message), more
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        status, body = await self.api.answer(method, path, body)
        return status, _JSON, body, []

    def _is_ours(self, host):
        if host is None:  # HTTP/1.0; no browser leaves it out
            return True
        bracketed, plain = _HOST.match(host.decode("latin-1").lower()).groups()
        name = bracketed or plain
        return name in self._hosts or is_loopback(name)

    def _answer_outside_api(self, method, path):
        if method == "GET":
            if path == METRICS_PATH and self.settings.monitoring:
                return 200, b"text/plain", self.metrics.page(), []
            answer = self.page.get(path)
            if answer:
                return 200, *answer, self.page.headers
        return 404, b"text/html", _NOT_FOUND, [_CLOSE]


def is_loopback(host: str) -> bool:
    """Whether a name or an address always leads to the machine that uses it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _read_body(headers, receive, settings, hold):
    """Reads the body of a request, and inflates it if it is compressed.

    `hold` of `ByteBudget.share` is told of each piece.

    Raises:
        ServingError: if the body is too large (413), too slow (408) or not gzip as it says, or
            the other requests hold too many bytes (503).
        ClientGone: if there is nobody to answer.
    """
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > settings.max_body_bytes:
        raise _too_large(settings)
    try:
        async with asyncio.timeout(settings.read_seconds):
            body = await _gather(receive, settings, hold)
    except TimeoutError:
        text = f"The request did not arrive within {settings.read_seconds:g} seconds"
        raise ServingError(DEADLINE_EXCEEDED, text, 408) from None
    if headers.get(b"content-encoding", b"").strip().lower() == b"gzip":
        # Always in the thread: a thousand bytes may inflate to megabytes.
        body = await in_thread_if_large(LARGE_BYTES, _inflate, body, settings)
        hold(len(body))
    return body


async def _gather(receive, settings, hold):
    parts, size, more = [], 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        part, more = event.get("body", b""), event.get("more_body", False)
        parts.append(part)
        size += len(part)
        if size > settings.max_body_bytes:
            raise _too_large(settings)
        hold(len(part))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _inflate(body, settings):
    stream = zlib.decompressobj(wbits=31)  # gzip
    try:
        # One byte more than allowed: a few bytes can inflate to gigabytes.
        inflated = stream.decompress(body, settings.max_body_bytes + 1)
    except zlib.error:
        inflated = b""
    if len(inflated) > settings.max_body_bytes:
        raise _too_large(settings)
    if not stream.eof:
        raise ServingError(INVALID_ARGUMENT, "JSON Parse error: The document is empty")
    return inflated


def _too_large(settings):
    return ServingError(
        RESOURCE_EXHAUSTED, f"The request should have at most {settings.max_body_bytes} bytes", 413
    )
