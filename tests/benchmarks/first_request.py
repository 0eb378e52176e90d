"""How much longer the first request after the start of our server takes than later ones.

    python tests/benchmarks/first_request.py [--items 50000] [--targets 5000] [--later 20]

A made-up model, a process of its own for the server, one connection for each signature. The time
of the first request includes connecting.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from keras_peterrec.benchmarks.serve import OwnServer

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--items", type=int, default=50_000)
parser.add_argument("--targets", type=int, default=5_000)
parser.add_argument("--length", type=int, default=50)
parser.add_argument("--later", type=int, default=20)


def ask(connection, method, path, body=None):
    """Seconds of one request; its answer has to be good."""
    began = time.perf_counter()
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, (answer.status, path)
    return time.perf_counter() - began


def first_and_later(url, name, history, later):
    """Milliseconds of a signature's first request, and the median of some more."""
    parts = urlsplit(url)
    body = json.dumps({"signature_name": name, "instances": [history]})
    # What is new is then the server and the connection, and not this process.
    ask(http.client.HTTPConnection(parts.hostname, parts.port), "GET", parts.path)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    times = [ask(connection, "POST", f"{parts.path}:predict", body) for _ in range(1 + later)]
    return 1e3 * times[0], 1e3 * statistics.median(times[1:])


def main():
    from keras_peterrec.benchmarks.report import describe_machine
    from keras_peterrec.benchmarks.serve_direct import make_model

    options = parser.parse_args()
    print(f"machine: {describe_machine()}")
    history = " ".join(f"i{n}" for n in range(options.length))
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "1", options.items, options.targets, 64, 8, options.length, 0)
        with OwnServer(folder) as server:
            for name in ("serving_default", "age", "films"):
                first, later = first_and_later(server.url, name, history, options.later)
                print(f"{name}: first {first:.1f} ms, later {later:.1f}, {first / later:.1f} times")


if __name__ == "__main__":
    main()
