"""Hostile requests against `serve`, and what a polite client feels of them.

    python tests/torture/hostile_requests.py [--model-base-path export/peterrec] [--seconds 10]
        [--requests 100000] [--clients 4] [--history "i1 i2"] [--kinds "digits,keys"]
        [--max-ratio 3]

It starts a server of its own on this machine (127.0.0.1, free ports). A polite client asks small
questions one by one: first alone, then while `--clients` connections in another process send what
no good client sends, one request after another, until `--seconds` have passed or `--requests` are
sent. It prints how each kind was answered, the polite client's latencies, and what the server wrote
and took. Exit status 1: the server died, a polite request failed, an answer said "Internal error",
or the polite client's p99 grew by more than `--max-ratio` (default 0: not judged).
"""

import argparse
import collections
import contextlib
import gzip
import http.client
import json
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import small_job

_SMALL, _LARGE = 3_000, 4_000_000  # bytes; the larger ones are just below the default limit
_SECONDS = 20  # for one answer


def _post(body, path="/v1/models/peterrec:predict", more=b"", length=None):
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n".encode()
    return head + more + b"\r\n" + body


def _instances(rows):
    return b'{"instances": [' + rows + b"]}"


def _many(piece, size):
    return _post(_instances(piece * (size // len(piece)) + piece.rstrip(b",")))


def _deep(random, opening, closing):
    depth = random.choice([60, 300, 950, 5_000, 1_000_000])
    return _post(b'{"instances": [' + opening * depth + b"1" + closing * depth + b"]}")


def _wrong(random):
    values = [b"null", b"true", b"{}", b"[]", b'"\\ud800"', b'"\xff"', b"NaN", b"1e999", b"-1"]
    value = random.choice(values)
    body = random.choice(
        [b'{"instances": [%s]}', b'{"inputs": %s}', b'{"inputs": {"history": %s}}']
    )
    verb = random.choice(["predict", "classify", "regress"])
    return _post(body % value, f"/v1/models/peterrec:{verb}")


# What a request of each kind sends: callable (random.Random, how many bytes about) -> bytes.
KINDS = {
    "empty lists": lambda random, size: _many(b"[],", size),
    "empty objects": lambda random, size: _many(b"{},", size),
    "numbers": lambda random, size: _many(b"1,", size),
    "decimals": lambda random, size: _many(b"1.5,", size),
    "empty strings": lambda random, size: _many(b'"",', size),
    "long strings": lambda random, size: _many(b'"' + b"i1 " * (size // 30) + b'",', size),
    "one string": lambda random, size: _post(_instances(b'"' + b"i1 " * (size // 3) + b'"')),
    "not UTF-8": lambda random, size: _post(_instances(b'"' + b"\xff" * size + b'"')),
    "nulls": lambda random, size: _post(_instances(b'"' + b"\\u0000" * (size // 6) + b'"')),
    "digits": lambda random, size: _post(_instances(b"9" * size)),
    "keys": lambda random, size: _post(
        b"{" + b",".join(b'"%d":1' % n for n in range(size // 10)) + b',"instances":[1]}'
    ),
    "white space": lambda random, size: _post(b" " * size),
    "deep lists": lambda random, size: _deep(random, b"[", b"]"),
    "deep objects": lambda random, size: _deep(random, b'{"a":', b"}"),
    "wrong values": lambda random, size: _wrong(random),
    "lists for strings": lambda random, size: _post(_instances(b'["1","2"],["3","4"]')),
    "gzip bomb": lambda random, size: _post(
        gzip.compress(b" " * size * 10), more=b"Content-Encoding: gzip\r\n"
    ),
    "not gzip": lambda random, size: _post(b"x" * size, more=b"Content-Encoding: gzip\r\n"),
    "promised too much": lambda random, size: _post(b"{}", length=10**12),
    "bytes at random": lambda random, size: random.randbytes(random.randrange(1, 300)),
    "foreign host": lambda random, size: b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "other paths": lambda random, size: (
        b"GET /v1/models/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
        % random.choice(
            [b"a" * 3000, b"peterrec/versions/" + b"9" * 300, b"%00", b"../../etc/passwd"]
        )
    ),
    "long head": lambda random, size: b"GET / HTTP/1.1\r\nX: " + b"a" * size,
}
# How the client goes after it has sent that, or a part of it.
_large = {}
_ENDINGS = ("reads", "reads", "reads", "hangs up", "resets", "sends half")


def send(port, kind, random, large=0.3):
    """Sends one request of a kind; returns its status, or what the client did instead."""
    size = _LARGE if random.random() < large else random.randrange(10, _SMALL)
    sent, ending = _made(kind, random, size), random.choice(_ENDINGS)
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as client:
        try:
            if ending == "sends half":
                client.sendall(sent[: random.randrange(len(sent))])
                return ending
            client.sendall(sent)
            if ending == "resets":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if ending != "reads":
                return ending
            if kind in ("bytes at random", "long head"):
                client.shutdown(socket.SHUT_WR)  # the server cannot tell that this is all
            answer = client.recv(400)
        except TimeoutError:
            return "no answer"
        except OSError:  # the server has seen enough before all was sent
            return "refused"
    if b"Internal error" in answer:
        return "Internal error"
    return answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"


def _made(kind, random, size):
    """A request; the large ones are made once, since both programs share the processors."""
    if size < _LARGE:
        return KINDS[kind](random, size)
    if kind not in _large:
        _large[kind] = KINDS[kind](random, size)
    return _large[kind]


def attack(port, seconds, requests, clients, seed=0, kinds=tuple(KINDS)):
    """Sends requests of all kinds over several connections; returns how many had which answer.

    Returns:
        dict from "kind: answer" to int.
    """
    counts, left = collections.Counter(), iter(range(requests))
    end, lock = time.monotonic() + seconds, threading.Lock()

    def work(number):
        own = random.Random(f"{seed} {number}")
        while time.monotonic() < end:
            with lock:
                if next(left, None) is None:
                    return
            kind = own.choice(kinds)
            answer = send(port, kind, own)
            with lock:
                counts[f"{kind}: {answer}"] += 1

    threads = [threading.Thread(target=work, args=[n]) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return dict(counts)


class Polite:
    """A client that asks one small question after another until it is stopped.

    Args:
        port: int.
        body: dict of a predict request.

    Attributes:
        seconds: list of float, how long each answer took.
        failed: list of int, other statuses than 200.
    """

    def __init__(self, port, body):
        self.seconds, self.failed = [], []
        self._port, self._body = port, json.dumps(body)

    def ask(self, stopped):
        """Asks until `stopped()` is true."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            while not stopped():
                start = time.perf_counter()
                connection.request("POST", "/v1/models/peterrec:predict", self._body)
                response = connection.getresponse()
                response.read()
                self.seconds.append(time.perf_counter() - start)
                if response.status != 200:
                    self.failed.append(response.status)
                time.sleep(0.003)

    def place(self, share):
        """The latency below which this share of the answers lies, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _measure(port, body, seconds, hostile=None):
    end, polite = time.monotonic() + seconds, Polite(port, body)
    polite.ask(lambda: time.monotonic() > end if hostile is None else hostile.poll() is not None)
    return polite


def main():
    """Runs a round and prints what came of it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model-base-path", help="default: a small export, made anew")
    parser.add_argument("--history", default="s1 s2 s3")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    parser.add_argument("--max-ratio", type=float, default=0)
    parser.add_argument("--attack", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    how = options.seconds, options.requests, options.clients, options.seed, options.kinds
    if options.attack:
        print(json.dumps(attack(options.attack, *how)))
        return 0
    with contextlib.ExitStack() as stack:
        base = options.model_base_path
        if base is None:
            base = small_job.make_export(stack.enter_context(tempfile.TemporaryDirectory()))
        words = ["--model-base-path", str(base), "--port", "0", "--grpc-port", "-1"]
        words = [sys.executable, "-m", "keras_peterrec", "serve", *words]
        server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        try:
            return _round(server, options)
        finally:
            server.terminate()
            server.wait(60)


def _round(server, options):
    import psutil

    address = None
    for line in server.stderr:
        address = re.search(r"http://127\.0\.0\.1:(\d+) answers", line)
        if address:
            break
    if not address:
        print("the server did not start")
        return 1
    port, said = int(address[1]), []
    threading.Thread(target=lambda: said.extend(server.stderr), daemon=True).start()
    body, process = {"instances": [options.history]}, psutil.Process(server.pid)
    _measure(port, {"instances": [options.history] * 100}, 1)  # TensorFlow makes a graph for many
    _measure(port, body, 1)
    before = process.memory_info().rss
    alone = _measure(port, body, options.seconds / 2)
    words = ["--seconds", options.seconds, "--requests", options.requests]
    words += ["--clients", options.clients, "--seed", options.seed]
    words += ["--kinds", ",".join(options.kinds), "--attack", port]
    with subprocess.Popen(
        [sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE, text=True
    ) as hostile:
        beside = _measure(port, body, 0, hostile)
        counts = json.loads(hostile.stdout.read())
    alone.seconds += _measure(port, body, options.seconds / 2).seconds
    died = server.poll() is not None
    grown = 0 if died else process.memory_info().rss - before
    for kind in KINDS:
        answers = {k.split(": ")[1]: n for k, n in counts.items() if k.startswith(f"{kind}: ")}
        if answers:
            print(f"{kind:18}", ", ".join(f"{answer} {n}" for answer, n in sorted(answers.items())))
    total, ratio = sum(counts.values()), beside.place(0.99) / alone.place(0.99)
    print(f"{total} hostile requests; memory grew by {grown / 2**20:.0f} MB")
    for name, polite in (("alone", alone), ("beside", beside)):
        print(
            f"polite {name}: {len(polite.seconds)} answers, {len(polite.failed)} failed, "
            f"p50 {polite.place(0.5):.1f} ms, p99 {polite.place(0.99):.1f} ms"
        )
    print(f"p99 is {ratio:.1f} times its own; the server wrote {len(said)} lines: {said[:3]}")
    bad = died or beside.failed or any("Internal" in name for name in counts)
    return int(bool(bad) or bool(options.max_ratio and ratio > options.max_ratio))


if __name__ == "__main__":
    sys.exit(main())
