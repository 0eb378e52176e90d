"""What the server uses of Uvicorn that is not public.

`tests/server/test_internals.py` fails when Uvicorn changes it. Uvicorn's own limits begin when
the head of a request has arrived; before that a client could send headers without end, or open
connections and send nothing. So its protocol class is extended.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from keras_peterrec.server.json_answers import write_error
from keras_peterrec.settings.serve import ServeSettings


class HttpConnection(HttpToolsProtocol):
    """One HTTP connection, within limits.

    - While no request is being answered, a client has `read_seconds`, from connecting or from its
      first byte, until the head of a request is complete. Then it gets status 408, or nothing if
      it has sent nothing.
    - At most `max_head_bytes` may arrive that neither complete a head nor belong to a body (431).
    - A connection beyond `max_connections` is refused (503).
    """

    def __init__(self, settings: ServeSettings, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.settings = settings
        self._bytes_without_result = 0
        self._head_too_large = False
        self._timer = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            self._refuse(503, "Too many connections at a time")
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes_without_result += len(data)
        super().data_received(data)  # calls the `on_` methods below
        if self.transport.is_closing():
            return
        if self._bytes_without_result > self.settings.max_head_bytes:
            self._refuse_head()
        elif self._timer is None and self._is_idle():
            self._start_timer()

    def on_headers_complete(self) -> None:
        # Uvicorn collects the headers in `self.url` and `self.headers`.
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.settings.max_head_bytes:
            self._head_too_large = True
            raise ValueError  # makes the parser fail, and Uvicorn call `send_400_response`
        self._bytes_without_result = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bytes_without_result = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        if self._head_too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _is_idle(self):
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _start_timer(self):
        self._timer = self.loop.call_later(self.settings.read_seconds, self._time_is_up)

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self):
        self._timer = None
        if self.transport.is_closing():
            return
        if self._bytes_without_result:
            seconds = self.settings.read_seconds
            self._refuse(408, f"The request did not arrive within {seconds:g} seconds")
        else:
            self.transport.close()

    def _refuse_head(self):
        self._refuse(
            431, f"The request's head should have at most {self.settings.max_head_bytes} bytes"
        )

    def _refuse(self, status, message):
        body = write_error(message)
        # While another answer is being written, these bytes would be read as a part of it.
        if self._is_idle():
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s" % (STATUS_LINE[status], len(body), body)
            )
        self.transport.close()


class HttpServer(uvicorn.Server):
    """Answers HTTP until it is stopped, and then stops other servers at the same time.

    Args:
        stop_others: coroutine function, which runs while the last requests are answered. Without
            it gRPC would take new requests until HTTP has finished.
    """

    def __init__(self, config: Any, stop_others: Callable[..., Any]) -> None:
        super().__init__(config)
        self._stop_others = stop_others

    async def shutdown(self, sockets: Any = None) -> None:
        await asyncio.gather(super().shutdown(sockets), self._stop_others())
