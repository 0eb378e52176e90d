"""HTTP: one ASGI application, without a framework between a request and its answer."""

from dataclasses import dataclass

from keras_peterrec.serving.server.byte_budget import ByteBudget
from keras_peterrec.serving.server.errors import UNAVAILABLE, ServingError
from keras_peterrec.serving.server.json_answers import write_error
from keras_peterrec.serving.server.request_body import ClientGone, read_body

METRICS_PATH = "/monitoring/prometheus/metrics"
_JSON, _HTML = b"application/json", b"text/html"
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n"
    b"<H1>Not Found</H1>\n</BODY></HTML>\n"
)
_CLOSE = (b"connection", b"close")
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
]


@dataclass(frozen=True)
class HttpLimits:
    """What a client may ask for.

    Args:
        body_bytes: int. Of one request. Defaults to 64 MiB.
        body_seconds: float. For its arrival. Defaults to `30`.
        requests: int. At a time. Defaults to `1024`.
        all_bytes: int. Of the bodies of all requests that are not answered yet. Defaults to
            256 MiB.
    """

    body_bytes: int = 64 << 20
    body_seconds: float = 30
    requests: int = 1024
    all_bytes: int = 256 << 20


class Application:
    """The ASGI application.

    Args:
        api: RestApi.
        metrics: Metrics, or None where they are not to be read.
        page: BrowserPage.
        limits: HttpLimits.
        cors: bool. Whether scripts of other origins may ask.

    Example:

    >>> uvicorn.run(Application(api, metrics, page, HttpLimits(), cors=False))
    """

    def __init__(self, api, metrics, page, limits, cors):
        self.api = api
        self.metrics = metrics
        self.page = page
        self.limits = limits
        self.cors = _CORS if cors else []
        self._active = 0
        self._budget = ByteBudget(limits.all_bytes, "Too many bytes at a time")
        self._last_client = None

    async def __call__(self, scope, receive, send):
        """Answers one request."""
        if scope["type"] != "http":
            return
        self._active += 1
        try:
            with self._budget.share() as hold:
                answer = await self._answer(scope, receive, hold)
        except ClientGone:
            return
        finally:
            self._active -= 1
        status, kind, body, more = answer
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            *more,
            *self.cors,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope, receive, hold):
        method = scope["method"]
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        headers = dict(scope["headers"])
        if method == "OPTIONS":
            origin = headers.get(b"origin", b"")
            known = origin.startswith((b"http://", b"https://"))
            return 200 if known else 400, b"text/html; charset=ISO-8859-1", b"", []
        if path[:4].lower() != "/v1/":
            return self._outside(method, path)
        try:
            if self._active > self.limits.requests:
                raise ServingError(UNAVAILABLE, "Too many requests at a time")
            body = await read_body(
                headers, receive, self.limits.body_bytes, self.limits.body_seconds, hold
            )
        except ServingError as error:
            self.api.refused(method, path, error)
            # Whatever is left of the body is not read: the connection ends.
            more = [_CLOSE] if error.http in (408, 413, 503) else []
            return error.http, _JSON, write_error(error.message), more
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        status, body = await self.api.answer(method, path, body, self._is_alone(scope))
        return status, _JSON, body, []

    def _is_alone(self, scope):
        """Whether one connection has asked last and now, and nobody else waits."""
        before, self._last_client = self._last_client, scope.get("client")
        return self._active == 1 and before is not None and before == self._last_client

    def _outside(self, method, path):
        if method == "GET":
            if path == METRICS_PATH and self.metrics:
                return 200, b"text/plain", self.metrics.page().encode(), []
            found = self.page.get(path)
            if found:
                return 200, *found, []
        return 404, _HTML, _NOT_FOUND, [_CLOSE]
