"""The health service, in the bytes that its own clients send."""

import asyncio
import signal

import grpc
import pytest
import uvicorn

from keras_peterrec.serving.server.http_server import HttpServer
from keras_peterrec.serving.server.server import Server
from keras_peterrec.serving.server.server_settings import ServerSettings


@pytest.fixture(scope="module")
def check(half_server):
    with grpc.insecure_channel(f"127.0.0.1:{half_server.grpc_port}") as channel:
        yield channel.unary_unary("/grpc.health.v1.Health/Check")  # bytes in, bytes out


def test_server_and_its_services_are_serving(check):
    assert check(b"") == b"\x08\x01"  # status = SERVING
    name = b"tensorflow.serving.PredictionService"
    assert check(bytes([0x0A, len(name)]) + name) == b"\x08\x01"  # service = name


def test_another_service_is_not_found(check):
    with pytest.raises(grpc.RpcError) as error:
        check(b"\x0a\x04nope")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_server_that_ends_is_not_serving(half_server, check):
    half_server.server._stopped = True
    try:
        assert check(b"") == b"\x08\x02"  # status = NOT_SERVING
    finally:
        half_server.server._stopped = False


def test_a_signal_is_told_at_once():
    told = []
    http = HttpServer(uvicorn.Config(None), lambda: told.append(http.should_exit), None)
    http.handle_exit(signal.SIGTERM, None)
    assert told == [False] and http.should_exit


def test_a_signal_while_grpc_is_started_is_not_lost(model_folder, monkeypatch):
    start = Server._start_grpc

    async def stopped(server, models):
        server.stop()
        return await start(server, models)

    monkeypatch.setattr(Server, "_start_grpc", stopped)
    announced = []
    settings = ServerSettings(str(model_folder / "half"), port=0, grpc_port=0)
    server = Server(settings, lambda *ports: announced.append(ports))
    assert asyncio.run(asyncio.wait_for(server.run(), 60))["requests"] == 0
    assert not announced
