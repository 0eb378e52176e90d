"""The client of the serving benchmark: a worker, see `keras_peterrec.benchmarks.worker`.

It puts load on this machine only, and does little but send bytes made before, so that it does
not become what is measured. Its settings are `url`, that of a model, and `bodies`, the path of
a JSON file with a list of request bodies for each signature. It answers

    at the start             what came of asking each signature for a moment, by name
    to `load NAME 16 5 1`    16 connections for 5 seconds, after 1 that does not count
    to `answered`            how many answers there were so far
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import numpy as np

from keras_peterrec.benchmarks.serve import loopback_model
from keras_peterrec.benchmarks.worker import serve
from keras_peterrec.types import Json

try:
    from uvloop import run  # takes less of the processors from the server
except ImportError:  # where it cannot be built, such as Windows
    from asyncio import run  # type: ignore[assignment]

STALLED_SECONDS = 30
PAUSE_SECONDS = 0.01  # after a failure
MOMENT_SECONDS = 0.1


class Connection(asyncio.Protocol):
    """A connection that asks again as soon as it is answered, until `end`.

    `requests` are whole HTTP requests; `answers` gets (time, status, latency) of each answer. The
    future `closed` has an exception if the connection broke while it waited.
    """

    def __init__(self, requests: Any, end: float, answers: list) -> None:
        self.requests, self.end, self.answers = requests, end, answers
        self.parser = httptools.HttpResponseParser(self)
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._ask()

    def _ask(self):
        self.asked = time.perf_counter()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self.answers.append((now, self.parser.get_status_code(), now - self.asked))
        if now < self.end and self.parser.should_keep_alive():
            self._ask()
        else:
            self.asked = None
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.closed.done():  # given up
            return
        if self.asked is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(error or ConnectionResetError())


async def keep_asking(address: tuple, requests: Any, end: float, answers: list) -> Any:
    """Asks over one connection at a time; `answers` also gets the names of exceptions."""
    loop = asyncio.get_running_loop()
    while (now := time.perf_counter()) < end:
        transport = None
        try:
            async with asyncio.timeout(end - now + STALLED_SECONDS):
                transport, connection = await loop.create_connection(
                    lambda: Connection(requests, end, answers), *address
                )
                await connection.closed
        except (OSError, httptools.HttpParserError) as error:  # a timeout is an OSError
            answers.append((time.perf_counter(), type(error).__name__, None))
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            if transport:
                transport.abort()


class Client:
    """Puts load on one model; `bodies` are the JSON of the requests of each signature.

    `answered` counts the answers so far, of any status.

    Raises:
        InputError: see `loopback_model`.
    """

    def __init__(self, url: str, bodies: Any) -> None:
        *self.address, path = loopback_model(url)
        self.answered = 0
        head = f"POST {path}:predict HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Length: "
        self.requests = {
            name: [f"{head}{len(body.encode())}\r\n\r\n{body}".encode() for body in texts]
            for name, texts in bodies.items()
        }

    def load(self, name: str, connections: int, seconds: float, warm_up: float) -> Json:
        """Keeps connections asking the signature `name`, and says what came of it.

        The numbers may be texts of them, as a request has them. What ends in `warm_up`, before
        `seconds` begin, is not counted. `requests` are the answers of status 200, `failures` are
        by status or exception, `client_cpu` is the share of a core that this process took.
        """
        requests, count = itertools.cycle(self.requests[name]), int(connections)
        began, cpu = time.perf_counter(), time.process_time()
        begin = began + float(warm_up)
        end = begin + float(seconds)
        answers = []  # when, status or exception, latency

        async def keep_all_asking():
            connected = (keep_asking(self.address, requests, end, answers) for _ in range(count))
            await asyncio.gather(*connected)

        run(keep_all_asking())
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        self.answered += sum(isinstance(status, int) for _, status, _ in answers)
        good = [each for when, status, each in answers if status == 200 and begin <= when <= end]
        failures = Counter(str(status) for when, status, _ in answers if status != 200)
        return {
            "requests": len(good),
            "errors": failures.total(),
            "failures": failures,
            "requests_per_second": len(good) / float(seconds),
            **percentiles(good),
            "client_cpu": cpu / took,
        }


def percentiles(seconds: Sequence[float]) -> Json:
    """Milliseconds by name, `p50_ms` to `max_ms`; None each where `seconds` is empty."""
    shares = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "max_ms": 100}
    if not seconds:
        return dict.fromkeys(shares)
    return {name: float(1e3 * np.percentile(seconds, share)) for name, share in shares.items()}


def start() -> tuple[Json, dict[str, Any]]:
    settings = json.loads(sys.argv[1])
    client = Client(settings["url"], json.loads(Path(settings["bodies"]).read_text("utf-8")))
    alone = {name: client.load(name, 1, MOMENT_SECONDS, 0) for name in client.requests}
    answers = {"load": client.load, "answered": lambda: {"answered": client.answered}}
    return {"name": "client", "signatures": alone}, answers


if __name__ == "__main__":
    serve(start)
