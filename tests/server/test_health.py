"""The health service, asked by its own client."""

import asyncio
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running_server import run_server, running

from keras_peterrec.server.grpc_services import Health
from keras_peterrec.server.server import Server
from keras_peterrec.settings.serve import ServeSettings

SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)


def request(name=""):
    return health_pb2.HealthCheckRequest(service=name)


def test_server_and_its_services(half_server):
    with grpc.insecure_channel(f"127.0.0.1:{half_server.grpc_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(request()).status == SERVING
        name = "tensorflow.serving.PredictionService"
        assert stub.Check(request(name)).status == SERVING
        with pytest.raises(grpc.RpcError) as error:
            stub.Check(request("nope"))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_who_watches_a_server_learns_that_it_ends(model_folder):
    with running(model_base_path=str(model_folder / "half"), grpc_port=0) as state:
        with grpc.insecure_channel(f"127.0.0.1:{state.grpc_port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(request(), timeout=60)
            assert next(watch).status == SERVING
            state.server.stop()
            assert next(watch).status == NOT_SERVING


def test_every_model_must_answer():
    models = [SimpleNamespace(available=[1]), SimpleNamespace(available=[])]

    async def statuses():
        health = Health(models)
        for available in ([], [2], []):
            models[1].available = available
            await health.update()
            yield (await health.servicer.Check(request(), None)).status

    async def gather():
        return [status async for status in statuses()]

    assert asyncio.run(gather()) == [NOT_SERVING, SERVING, NOT_SERVING]


def test_a_signal_while_grpc_is_started_is_not_lost(model_folder, monkeypatch):
    start = Server._start_grpc

    async def stopped(server, *arguments):
        server.stop()
        return await start(server, *arguments)

    monkeypatch.setattr(Server, "_start_grpc", stopped)
    announced = []
    settings = ServeSettings(str(model_folder / "half"), port=0, grpc_port=0)
    server = Server(settings, lambda *ports: announced.append(ports))
    assert run_server(server).result(60)["requests"] == 0
    assert not announced
