"""Limits of connections, and of what comes before a request is complete."""

import contextlib
import socket
import time

import pytest
from running_server import ask, predict, running

HEAD = b"GET /v1/models/peterrec HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/models/peterrec:predict HTTP/1.1\r\nHost: localhost\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


def wait_until_nobody_is_connected(state):
    end = time.monotonic() + 20
    while state.server._http.server_state.connections:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def port(model_folder):
    with running(
        model_base_path=str(model_folder / "half"), read_seconds=0.3, max_head_bytes=4096
    ) as state:
        yield state.port
        wait_until_nobody_is_connected(state)
        assert predict(state.port, "peterrec", {"instances": [2.0]})[0] == 200


@contextlib.contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        yield client


def reply(client):
    """All bytes until the server hangs up."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            received += part
    return received


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"X: " + b"a" * 5000 + b"\r\n\r\n",  # whole
        HEAD + b"X: " + b"a" * 5000,  # without an end
        HEAD + b"X: a\r\n" * 1000,
        b"GET /" + b"a" * 5000,
        b"\r\n" * 2500,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 5000,  # in a trailer
    ],
)
def test_a_head_that_is_too_large(sent, port):
    with connected(port) as client:
        client.sendall(sent)
        found = reply(client)
    if not sent.startswith(POST):  # whose request ends in the middle
        assert found.startswith(TOO_LARGE), found
        assert b'"error": "The request\'s head should have at most 4096 bytes"' in found


def test_a_head_that_never_ends(port):
    with connected(port) as client, contextlib.suppress(ConnectionError):
        client.sendall(HEAD)
        for n in range(10_000):
            client.sendall(b"X-%d: %s\r\n" % (n, b"a" * 10_000))
        raise AssertionError("100 MB of headers were taken")


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"])
def test_a_head_that_comes_too_slowly(before, port):
    """On a new connection and after an answer; sending bit by bit gives no more time."""
    with connected(port) as client:
        if before:
            client.sendall(before)
            answer = b""
            while not answer.rstrip().endswith(b"]}"):
                answer += client.recv(65536)
        client.sendall(HEAD[:5])
        for byte in HEAD[5:]:
            time.sleep(0.05)
            try:
                client.sendall(bytes([byte]))
            except ConnectionError:
                break
        else:
            raise AssertionError("it had more than 0.3 s")
        found = reply(client)
    assert not found or found.startswith(b"HTTP/1.1 408")


def test_a_client_that_sends_nothing(port):
    with connected(port) as client:
        assert reply(client) == b""


def test_a_body_that_comes_after_the_answer(port):
    """OPTIONS is answered before its body has come."""
    with connected(port) as client:
        client.sendall(b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400")
        client.sendall(b"a")
        assert reply(client) == b""


def test_an_answer_may_take_longer_than_a_head(half_server, model_folder):
    """And a large body may come in pieces: the limit of heads does not count it."""
    with running(
        model_base_path=str(model_folder / "everything"), read_seconds=0.2, max_head_bytes=200
    ) as state:
        body = b'{"signature_name": "slow", "instances": [%s4000]}' % (b" " * 300_000)
        status, _, _ = ask(state.port, "POST", "/v1/models/peterrec:predict", body)
        assert status == 200


def test_one_request_too_many(model_folder):
    """A request whose client has hung up counts as long as it runs."""
    with running(model_base_path=str(model_folder / "everything"), max_connections=1) as state:
        wait_until_nobody_is_connected(state)
        body = b'{"signature_name": "slow", "instances": [4000]}'
        with connected(state.port) as client:
            client.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            while not state.server.batcher._busy:
                time.sleep(0.01)
        wait_until_nobody_is_connected(state)
        status, answer = predict(state.port, "peterrec", {"instances": [2.0]})
        assert (status, answer) == (503, {"error": "Too many requests at a time"})
        page = ask(state.port, "GET", "/monitoring/prometheus/metrics")[1].decode()
        assert 'request_count{model_name="peterrec",status="UNAVAILABLE"} 1.0\n' in page


def test_one_connection_too_many(model_folder):
    with running(
        model_base_path=str(model_folder / "half"), read_seconds=0.3, max_connections=3
    ) as state:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(state.port)) for _ in range(8)]
            found = [reply(client) for client in clients]
        wait_until_nobody_is_connected(state)
        assert predict(state.port, "peterrec", {"instances": [2.0]})[0] == 200
    refused = [text for text in found if text]
    assert len(refused) == 5
    assert all(text.startswith(b"HTTP/1.1 503") for text in refused)
    assert all(b'"error": "Too many connections at a time"' in text for text in refused)
