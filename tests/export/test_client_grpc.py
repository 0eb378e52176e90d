"""The client over gRPC, against a server that answers as TensorFlow Serving does."""

import json

import pytest
import tensorflow as tf
from serving_folder import LOWEST

pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving.apis.predict_pb2")
import client_grpc


def test_predict_request():
    request = client_grpc.predict_request("films", ["a b", ""], "shop", "stable")
    spec = request.model_spec
    assert (spec.name, spec.signature_name, spec.version_label) == ("shop", "films", "stable")
    assert list(request.inputs) == ["history"]
    assert tf.make_ndarray(request.inputs["history"]).tolist() == [b"a b", b""]
    newest = client_grpc.predict_request("films", [""]).model_spec
    assert newest.WhichOneof("version_choice") is None and newest.name == "peterrec"


@pytest.mark.parametrize("make", ["predict_request", "classify_request", "regress_request"])
def test_empty_requests_are_not_made(make):
    with pytest.raises(ValueError, match="`histories` should be one string or more"):
        getattr(client_grpc, make)("films", [])


@pytest.mark.parametrize(
    ("make", "signature"),
    [(client_grpc.classify_request, "a_classify"), (client_grpc.regress_request, "a_regress")],
)
def test_requests_of_examples(make, signature):
    request = make("a", ["a b", ""], label="canary")
    assert request.model_spec.signature_name == signature
    assert request.model_spec.version_label == "canary"
    rows = [e.features.feature["history"] for e in request.input.example_list.examples]
    assert [list(row.bytes_list.value) for row in rows] == [[b"a", b"b"], []]


def test_command_line(server, capsys):
    def run(*arguments):
        client_grpc.main(["--server", server.grpc, *arguments])
        return json.loads(capsys.readouterr().out)

    lowest = pytest.approx(LOWEST)
    rows = [{"items": [history, ""], "scores": [0.5, lowest]} for history in ("a b", "")]
    assert run("--task", "films", "a b", "") == rows
    assert run("--task", "films", "--label", "stable", "--classify", "a b") == [
        [["a b", 0.5], ["", lowest]]
    ]
    assert run("--task", "spend", "a b", "") == [{"value": 2.0}, {"value": 0.0}]
    assert run("--task", "spend", "--regress", "a b", "") == [2.0, 0.0]
    [counts] = run("--task", "known", "a b")
    assert counts == {"events": 2, "known_events": 1}
    assert {type(count) for count in counts.values()} == {int}


def test_refusal_is_one_line(server, capsys):
    with pytest.raises(SystemExit) as ended:
        client_grpc.main(["--server", server.grpc, "--task", "nope", "a"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("client_grpc: error: FAILED_PRECONDITION: ")
    assert line.endswith('Serving signature key "nope" not found.')
