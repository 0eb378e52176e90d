"""The client of the serving benchmark: a worker, see `keras_peterrec.benchmarks.worker`.

A process of its own with nothing but Python's library, so that it does not become what
is measured: requests are bytes made before, connections are kept. Its settings are `host`,
`port`, `path` (of a `LoopbackModel`) and `bodies`, path of a JSON file with a list of
requests' bodies for each signature. It answers

    to `first NAME`          the time of one request on a new connection, and of some after it
    to `load NAME 16 5 1`    a cell: 16 connections, 5 seconds, after 1 that does not count
"""

import json
import sys
import time
from pathlib import Path

from keras_peterrec.benchmarks.keep_alive_load import KeepAliveLoad
from keras_peterrec.benchmarks.latencies import summarize_latencies
from keras_peterrec.benchmarks.worker import serve

_LATER = 20


class ServeClient:
    """Puts load on one model.

    Args:
        host: str.
        port: int.
        path: str. Of the model.
        bodies: dict from signature to list of str, the JSON of its requests.

    Attributes:
        answered: dict from signature to int, answers so far.
    """

    def __init__(self, host, port, path, bodies):
        self.address = (host, port)
        self.answered = dict.fromkeys(bodies, 0)
        self.state = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        head = f"POST {path}:predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: "
        self.requests = {
            name: [f"{head}{len(body.encode())}\r\n\r\n{body}".encode() for body in texts]
            for name, texts in bodies.items()
        }

    def first(self, name):
        """dict of `first_ms`, `later_ms` (the median of some more) and `failures`.

        Before them it asks for the model's state, so that what is new is the server and the
        connection, and not this process.
        """
        with KeepAliveLoad(self.address, [self.state], 1) as load:
            load.one()
        with KeepAliveLoad(self.address, self.requests[name], 1) as load:
            first, *later = [load.one() for _ in range(1 + _LATER)]
            self.answered[name] += load.answered
            return {
                "first_ms": 1e3 * first,
                "later_ms": summarize_latencies(later)["p50"],
                "failures": load.failures,
            }

    def load(self, name, connections, seconds, warm_up):
        """One cell; its arguments are texts.

        Returns:
            dict of `requests` (answered well in the measured `seconds`), `errors`,
            `failures` (their count by kind), `requests_per_second`, `latency_ms`, and
            `client_cpu`, the share of a core that this process took.
        """
        with KeepAliveLoad(self.address, self.requests[name], int(connections)) as load:
            load.run(float(warm_up))
            load.latencies.clear()
            load.failures.clear()
            began, cpu = time.perf_counter(), time.process_time()
            load.run(float(seconds))
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            latencies = list(load.latencies)
            load.drain()
            self.answered[name] += load.answered
            return {
                "connections": int(connections),
                "seconds": took,
                "requests": len(latencies),
                "errors": load.errors,
                "failures": load.failures,
                "requests_per_second": len(latencies) / took,
                "latency_ms": summarize_latencies(latencies),
                "client_cpu": cpu / took,
            }


def main():
    settings = json.loads(sys.argv[1])
    bodies = json.loads(Path(settings.pop("bodies")).read_text(encoding="utf-8"))
    client = ServeClient(**settings, bodies=bodies)
    answers = {"first": client.first, "load": client.load, "answered": lambda: client.answered}
    serve(answers, lambda: {"name": "client"})


if __name__ == "__main__":
    main()
