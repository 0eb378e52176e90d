"""What a client may do before its request is one: Uvicorn's own limits begin after that."""

from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from keras_peterrec.serving.server.json_answers import write_error


@dataclass(frozen=True)
class ConnectionLimits:
    """What a client may send before a request is answered.

    Args:
        head_bytes: int. Of a request line and its headers. Defaults to 64 KiB.
        head_seconds: float. For their arrival. Defaults to `30`.
        connections: int. Open at a time. Defaults to `1024`.
    """

    head_bytes: int = 64 << 10
    head_seconds: float = 30
    connections: int = 1024


class HttpConnection(HttpToolsProtocol):
    """One connection, within limits.

    While nothing of it is being answered, a client has `head_seconds` from its first byte, or
    from connecting, until the head of a request is whole (408, or nothing where nothing came).
    `head_bytes` may come without bringing one, or a piece of a body (431). One connection too
    many is refused (503).

    Args:
        limits: ConnectionLimits.
        arguments: Those of Uvicorn.

    Example:

    >>> uvicorn.Config(application, http=functools.partial(HttpConnection, ConnectionLimits()))
    """

    def __init__(self, limits, *arguments, **named):
        super().__init__(*arguments, **named)
        self.limits = limits
        self._fruitless = 0  # bytes since what they brought
        self._oversized = False
        self._timer = None

    def connection_made(self, transport):
        """A client has connected."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "Too many connections at a time")
        else:
            self._start_timer()

    def connection_lost(self, exc):
        """It has gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data):
        """Some of a request, or of several."""
        self._fruitless += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._fruitless > self.limits.head_bytes:
            self._refuse_head()
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()

    def on_headers_complete(self):
        """The head of a request is whole."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.limits.head_bytes:
            self._oversized = True
            raise ValueError  # to the parser, which then asks for `send_400_response`
        self._fruitless = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body):
        """A piece of a body."""
        self._fruitless = 0
        super().on_body(body)

    def send_400_response(self, msg):
        """Refuses what is no HTTP."""
        if self._oversized:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _start_timer(self):
        self._timer = self.loop.call_later(self.limits.head_seconds, self._expired)

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self):
        self._timer = None
        if self.transport.is_closing():
            return
        if self._fruitless:
            seconds = self.limits.head_seconds
            self._refuse(408, f"The request did not arrive within {seconds:g} seconds")
        else:
            self.transport.close()

    def _refuse_head(self):
        self._refuse(431, f"The request's head should have at most {self.limits.head_bytes} bytes")

    def _refuse(self, status, message):
        body = write_error(message)
        # In the middle of another answer these bytes would be read as a part of it.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s" % (STATUS_LINE[status], len(body), body)
            )
        self.transport.close()
