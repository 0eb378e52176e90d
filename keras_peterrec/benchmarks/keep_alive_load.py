"""Connections that ask again as soon as they are answered."""

import re
import selectors
import socket
import time

_STALLED_SECONDS = 30
_PAUSE_SECONDS = 0.01  # after a connection that could not be opened
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class KeepAliveLoad:
    """HTTP connections in one loop of one thread.

    Of an answer only the status and the length are read. What fails is counted, and its
    connection opened anew.

    Args:
        address: (host, port).
        requests: list of bytes, whole requests, which take turns.
        connections: int.

    Attributes:
        answered: int. Answers of any status.
        latencies: list of float, seconds of each answer of status 200.
        failures: dict from kind (a status, or what went wrong) to count.

    Example:

    >>> with KeepAliveLoad(("127.0.0.1", 8501), [request], 16) as load:
    ...     load.run(seconds=5)
    ...     load.drain()
    """

    def __init__(self, address, requests, connections):
        self.address = address
        self.requests = requests
        self.answered = 0
        self.latencies = []
        self.failures = {}
        self._asked = 0
        self._selector = selectors.DefaultSelector()
        self._idle = [_Connection() for _ in range(connections)]
        self._waiting = set()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for each in (*self._idle, *self._waiting):
            self._drop(each)
        self._selector.close()

    @property
    def errors(self):
        """How many requests failed."""
        return sum(self.failures.values())

    def run(self, seconds):
        """Keeps every connection asking."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            while self._idle:
                if not self._ask(self._idle.pop()):
                    break
            self._receive(left)

    def one(self):
        """Asks once and waits; returns the seconds, also of a failure."""
        began = time.perf_counter()
        self._ask(self._idle.pop())
        self.drain()
        return time.perf_counter() - began

    def drain(self):
        """Waits for what was asked; what does not come in time has failed."""
        end = time.perf_counter() + _STALLED_SECONDS
        while self._waiting:
            self._receive(max(0, end - time.perf_counter()))
            if time.perf_counter() > end:
                for each in list(self._waiting):
                    self._fail(each, "no answer")

    def _ask(self, connection):
        request = self.requests[self._asked % len(self.requests)]
        self._asked += 1
        try:
            if connection.socket is None:
                connection.socket = socket.create_connection(self.address, _STALLED_SECONDS)
                connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.reply, connection.began = b"", time.perf_counter()
            connection.socket.sendall(request)
        except OSError as error:
            self._fail(connection, type(error).__name__)
            time.sleep(_PAUSE_SECONDS)
            return False
        self._waiting.add(connection)
        return True

    def _receive(self, seconds):
        for key, _ in self._selector.select(seconds):
            connection = key.data
            try:
                part = connection.socket.recv(1 << 18)
            except OSError as error:
                self._fail(connection, type(error).__name__)
                continue
            if connection not in self._waiting:  # closed, or spoke unasked
                self._drop(connection)
            elif not part:
                self._fail(connection, "closed")
            else:
                connection.reply += part
                self._read(connection)

    def _read(self, connection):
        reply = connection.reply
        end = reply.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(reply, 0, end)
        if not found:
            self._fail(connection, "no length")
            return
        if len(reply) < end + 4 + int(found[1]):
            return
        self.answered += 1
        if reply[9:12] == b"200":
            self.latencies.append(time.perf_counter() - connection.began)
        else:
            self._count(reply[9:12].decode("latin-1"))
        if _CLOSE.search(reply, 0, end):
            self._drop(connection)
        self._waiting.discard(connection)
        self._idle.append(connection)

    def _fail(self, connection, kind):
        self._count(kind)
        self._drop(connection)
        self._waiting.discard(connection)
        self._idle.append(connection)

    def _count(self, kind):
        self.failures[kind] = self.failures.get(kind, 0) + 1

    def _drop(self, connection):
        if connection.socket is not None:
            try:
                self._selector.unregister(connection.socket)
            except KeyError:
                pass  # it broke before it was registered
            connection.socket.close()
            connection.socket = None


class _Connection:
    """A socket, what has come of an answer, and when it was asked for."""

    def __init__(self):
        self.socket = None
        self.reply = b""
        self.began = 0.0
