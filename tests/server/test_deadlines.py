"""A request that is late gets an error, and does not run if it has not begun."""

import re
import threading
import time

import grpc
import pytest
import tensorflow as tf
from running_server import ask, predict, running
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_peterrec.server.loaded_version import Signature

TIMEOUT = 0.3
STEPS = 1


@pytest.fixture(scope="module")
def gate():
    """While it is closed, the signature `slow` runs, and does not end."""
    opened, run = threading.Event(), Signature.run

    def wait(self, inputs):
        assert self.name != "slow" or opened.wait(60)
        return run(self, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Signature, "run", wait)
        yield opened


@pytest.fixture(scope="module")
def shared_server(model_folder, gate):
    base = str(model_folder / "everything")
    gate.set()  # it warms up
    with running(model_base_path=base, grpc_port=0, workers=1, request_timeout=TIMEOUT) as state:
        yield state


@pytest.fixture
def server(shared_server, gate):
    """Its `slow` is closed."""
    gate.clear()
    yield shared_server
    gate.set()


def runs(server):
    """How many runs there were so far."""
    page = ask(server.port, "GET", "/monitoring/prometheus/metrics")[1].decode()
    return sum(map(int, re.findall(r"processed_batch_size_count\{.*\} (\d+)", page)))


def settled(server, gate):
    """Lets what runs end, and waits for it."""
    gate.set()
    end = time.perf_counter() + 60
    while server.server.batcher._busy and time.perf_counter() < end:
        time.sleep(0.02)
    assert not server.server.batcher._busy


def test_rest_answers_504(server, gate):
    began = time.perf_counter()
    status, text, _ = ask(
        server.port,
        "POST",
        "/v1/models/peterrec:predict",
        f'{{"signature_name": "slow", "instances": [{STEPS}]}}',
    )
    assert time.perf_counter() - began < 10
    assert status == 504
    assert text == b'{"error": "The request was not answered within 0.3 seconds"}'
    settled(server, gate)
    assert predict(server.port, "peterrec", {"instances": [2.0]}) == (200, {"predictions": [3.0]})


def test_a_request_that_waits_too_long_never_runs(server, gate):
    before = runs(server)
    first = threading.Thread(
        target=predict,
        args=(server.port, "peterrec", {"signature_name": "slow", "instances": [STEPS]}),
    )
    first.start()
    time.sleep(0.1)
    assert predict(server.port, "peterrec", {"instances": [2.0]})[0] == 504
    assert server.server.batcher.waiting == 0  # it has left the queue
    first.join()
    settled(server, gate)
    assert runs(server) - before == 1


def stub_request(signature, value):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "peterrec", signature
    name = "steps" if signature == "slow" else "x"
    request.inputs[name].CopyFrom(tf.make_tensor_proto([value]))
    return request


def test_grpc_keeps_the_server_s_time_and_the_client_s(server, gate):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(stub_request("slow", STEPS))
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert error.value.details() == "The request was not answered within 0.3 seconds"
        # The one before still runs: this waits, until its own client has no more time.
        before = runs(server)
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(stub_request("", 2.0), timeout=0.1)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        end = time.perf_counter() + 5
        while server.server.batcher.waiting and time.perf_counter() < end:
            time.sleep(0.01)
        assert server.server.batcher.waiting == 0
        settled(server, gate)
        assert runs(server) - before <= 1  # the first alone
    page = ask(server.port, "GET", "/monitoring/prometheus/metrics")[1].decode()
    assert 'status="DEADLINE_EXCEEDED"' in page
