"""The client over gRPC: its requests, and a server in this process that answers them."""

import json
from concurrent import futures

import pytest
import tensorflow as tf

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving.apis.predict_pb2")
import client_grpc  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with typed fields, as TensorFlow Serving does."""

    def Predict(self, request, context):
        if request.model_spec.signature_name != "films":
            name = request.model_spec.signature_name
            text = f'Serving signature key "{name}" not found.'
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        rows = len(tf.make_ndarray(request.inputs["history"]))
        response = predict_pb2.PredictResponse()
        items = tf.make_tensor_proto([["2355", ""]] * rows, tf.string)
        response.outputs["items"].CopyFrom(items)
        scores = response.outputs["scores"]
        scores.dtype = tf.float32.as_datatype_enum
        scores.tensor_shape.CopyFrom(tf.TensorShape([rows, 2]).as_proto())
        scores.float_val.extend([0.5, 0.25] * rows)
        return response

    def Classify(self, request, context):
        response = classification_pb2.ClassificationResponse()
        for example in request.input.example_list.examples:
            items = example.features.feature["history"].bytes_list.value
            row = response.result.classifications.add()
            row.classes.add(label=",".join(item.decode() for item in items), score=0.5)
        return response


@pytest.fixture(scope="module")
def address():
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_predict_request():
    request = client_grpc.predict_request("films", ["a b", ""], "shop", "stable")
    spec = request.model_spec
    assert (spec.name, spec.signature_name, spec.version_label) == ("shop", "films", "stable")
    assert list(request.inputs) == ["history"]
    assert tf.make_ndarray(request.inputs["history"]).tolist() == [b"a b", b""]
    newest = client_grpc.predict_request("films", []).model_spec
    assert newest.WhichOneof("version_choice") is None and newest.name == "peterrec"
    assert tf.make_ndarray(client_grpc.predict_request("films", []).inputs["history"]).shape == (0,)


def test_classify_request():
    request = client_grpc.classify_request("films", ["a b", ""], label="canary")
    assert request.model_spec.signature_name == "films_classify"
    assert request.model_spec.version_label == "canary"
    rows = [e.features.feature["history"] for e in request.input.example_list.examples]
    assert [list(row.bytes_list.value) for row in rows] == [[b"a", b"b"], []]


def test_command_line(address, capsys):
    client_grpc.main(["--server", address, "--task", "films", "a b", ""])
    row = {"items": ["2355", ""], "scores": [0.5, 0.25]}
    assert json.loads(capsys.readouterr().out) == [row, row]
    client_grpc.main(["--server", address, "--task", "films", "--classify", "a b"])
    assert json.loads(capsys.readouterr().out) == [[["a,b", 0.5]]]


def test_refusal_is_one_line(address, capsys):
    with pytest.raises(SystemExit) as ended:
        client_grpc.main(["--server", address, "--task", "nope", "a"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("client_grpc: error: FAILED_PRECONDITION: ")
    assert line.endswith('Serving signature key "nope" not found.')
