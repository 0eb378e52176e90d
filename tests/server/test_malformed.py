"""Whatever a client sends, the server answers with the right code and goes on."""

import http.client
import json
import os
import random
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from running_server import ask, predict

PATH = "/v1/models/everything:predict"
CODES = {200, 400, 404, 408, 413, 501}


def healthy(port):
    assert predict(port, "everything", {"instances": [2.0]}) == (200, {"predictions": [3.0]})


def mutated(rng):
    """A request's body with something wrong with it; sometimes nothing."""
    body = rng.choice(
        [
            b'{"instances": [1.0, 2.5]}',
            b'{"inputs": {"x": [1, 2]}}',
            b'{"inputs": [[1], [2]]}',
            b'{"signature_name": "words", "instances": ["a b", {"b64": "YQ=="}]}',
            b'{"signature_name": "two", "instances": [{"a": 1, "b": 2}]}',
            b'{"signature_name": "picky", "instances": [0, 9]}',
            b'{"signature_name": "classify", "examples": [{"x": 1.5, "y": ["a"]}]}',
        ]
    )
    kind = rng.randrange(8)
    at = rng.randrange(len(body) + 1)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:
        return body[:at]
    if kind == 2:
        return body[:at] + rng.randbytes(rng.randrange(1, 5)) + body[at:]
    if kind == 3:
        depth = rng.choice([3, 64, 200, 255, 5000, rng.randrange(900, 1100)])
        return b'{"instances": ' + b"[" * depth + rng.choice([b"1", b'"a"']) + b"]" * depth + b"}"
    if kind == 4:
        number = rng.choice([b"1" * 400, b"-1e999", b"1e-999", b"9" * 19, b"-0", b"1E+30", b"0x1"])
        return body.replace(b"1", number)
    if kind == 5:
        values = [b"null", b"true", b"{}", b"[]", b'"\\ud800"', b'"\xff"', b"NaN", b"-Inf"]
        value = rng.choice(values)
        return body.replace(b"1", value).replace(b'"a b"', value)
    if kind == 6:
        words = [*b'[]{},:"1 ', *(b'"x"', b"instances", b"\\u00")]
        words = [bytes([word]) if isinstance(word, int) else word for word in words]
        return b"".join(rng.choice(words) for _ in range(rng.randrange(40)))
    return body


def fuzz(port, count, seed):
    rng, found = random.Random(seed), set()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for n in range(count):
        body = mutated(rng)
        call = rng.choice([":predict"] * 8 + [":classify", ":regress"])
        version = "/versions/" + "0" * rng.choice([1, 30, 4400, 5000]) + "7"
        path = f"/v1/models/everything{rng.choice([version, '', '', ''])}{call}"
        status, text, _ = ask(port, "POST", path, body, connection=connection)
        assert status in CODES, (n, body)
        if status != 200:
            text.decode("utf-8", "surrogateescape")
            assert text.startswith(b'{"error": "'), (n, body, text)
        found.add(status)
    connection.close()
    assert {200, 400} <= found
    healthy(port)


def test_1000_bodies(half_server):
    fuzz(half_server.port, 1000, seed=0)


@pytest.mark.slow
def test_10000_bodies(half_server):
    fuzz(half_server.port, 10_000, seed=1)


@pytest.mark.slow
def test_nesting_as_deep_as_python_recurses(half_server):
    """Around this depth one step of reading may still work and the next one not."""
    bodies = [
        b'{"instances": %s}',
        b'{"inputs": %s}',
        b'{"instances": [{"x": %s}]}',
        b'{"more": %s, "instances": 3}',
        b'{"examples": [{"x": %s}]}',
    ]
    connection = http.client.HTTPConnection("127.0.0.1", half_server.port, timeout=60)
    for depth in (*range(900, 1000), *range(1000, 1101, 10)):
        text = b"[" * depth + b'"a"' + b"]" * depth
        sent = [body % text for body in bodies]
        sent.append(b'{"inputs": ' + b'{"x": ' * depth + b"1" + b"}" * (depth + 1))
        for body in sent:
            path = PATH.replace("predict", "classify") if b"examples" in body else PATH
            assert ask(half_server.port, "POST", path, body, connection=connection)[0] == 400, body
    connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/everything/versions/-1:predict",
        "/v1/models/%00:predict",
        "/v1//",
        "/v1/",
        "/v1/models/../../etc/passwd",
        "/v1/models/%2e%2e%2fetc:predict",
        "/v1/models/a:b:predict",
        "/v1/models/everything/versions/7/labels/x:predict",
        "/v1/models/" + "a" * 5000,
        "/v1/models/everything/versions/" + "9" * 5000 + ":predict",
        "/v1/models/half/versions/" + "0" * 5000,
        "/v1/models/é:predict",
        "/v1/models/%ff%fe:predict",
        "/v1/models/everything:predict#x",
        "/v1/models/half/metadata/",
    ],
)
def test_paths(path, half_server):
    for method in ("GET", "POST", "PATCH"):
        sent = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", half_server.port), timeout=30) as client:
            client.sendall(sent)
            status = int(client.recv(65536).split()[1])
        assert status in (400, 404)
    healthy(half_server.port)


def test_bytes_that_are_not_http(half_server):
    rng = random.Random(0)
    for n in range(100):
        with socket.create_connection(("127.0.0.1", half_server.port), timeout=30) as client:
            client.sendall(rng.randbytes(rng.randrange(1, 300)) + b"\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            try:
                reply = client.recv(65536)
            except ConnectionError:
                continue
            assert not reply or reply.startswith(b"HTTP/1.1 4"), n
    healthy(half_server.port)


def held():
    """What this process has open: files, threads, MiB.

    Of a pool only its first thread counts: further ones begin whenever two runs happen to meet,
    never more than the pool may have, and stay.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    names = [thread.name for thread in threading.enumerate()]
    threads = [name for name in names if not re.fullmatch(r"run_[1-9]\d*|read_\d+", name)]
    return len(os.listdir("/proc/self/fd")), len(threads), pages >> 8


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells it so")
def test_nothing_is_left_of_malformed_requests(half_server):
    def send(count, seed):
        fuzz(half_server.port, count, seed)
        rng = random.Random(seed)
        for _n in range(count):
            body = mutated(rng)
            length = len(body) + rng.choice([-1, 0, 5])
            head = f"POST {PATH} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n".encode()
            with socket.create_connection(("127.0.0.1", half_server.port), timeout=30) as client:
                client.sendall((head + body)[: rng.choice([None, None, 20, len(head)])])
        healthy(half_server.port)

    send(100, seed=2)  # threads that are kept for the next begin
    files, threads, memory = held()
    send(300, seed=3)
    end = time.monotonic() + 20
    while (held()[0] > files or held()[1] > threads) and time.monotonic() < end:
        time.sleep(0.05)
    assert held()[0] <= files and held()[1] <= threads
    assert held()[2] < memory + 50


def test_clients_that_hang_up(half_server):
    """In the middle of a request, and while it is run."""
    body = json.dumps({"signature_name": "slow", "instances": [50]}).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    for n in range(40):
        client = socket.create_connection(("127.0.0.1", half_server.port), timeout=30)
        client.sendall((head + body)[: -(n % 3) or None])
        client.close()
    healthy(half_server.port)


def test_slow_clients_do_not_delay_others(half_server):
    body = b'{"instances": [2.0]}'
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    clients = [
        socket.create_connection(("127.0.0.1", half_server.port), timeout=30) for _ in range(50)
    ]
    for client in clients:
        client.sendall(head + body[:5])
    start = time.monotonic()
    healthy(half_server.port)
    assert time.monotonic() - start < 10
    for byte in range(5, len(body)):
        for client in clients:
            client.sendall(body[byte : byte + 1])
    for client in clients:
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.close()


def test_requests_on_one_connection(half_server):
    """Sent at once, answered in their order."""
    sent = b""
    for n in range(20):
        body = json.dumps({"instances": [n]}).encode()
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        sent += head.encode() + body
    with socket.create_connection(("127.0.0.1", half_server.port), timeout=30) as client:
        client.sendall(sent)
        received = b""
        while received.count(b"predictions") < 20:
            received += client.recv(65536)
    found = [
        float(part.split(b"[")[1].split(b"]")[0]) for part in received.split(b"predictions")[1:]
    ]
    assert found == [n / 2 + 2 for n in range(20)]
