"""The health service, in the bytes that its own clients send."""

import grpc
import pytest


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
