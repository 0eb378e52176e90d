"""REST: TensorFlow Serving's transcripts, an export's answers, limits, and the page."""

import base64
import gzip
import json
import re
import socket
import time

import numpy as np
import pytest
import transcripts
from running_server import ask, predict, running
from serving_samples import HISTORIES, NAMES, OF_EXAMPLES, assert_same, expected

ENTRIES = transcripts.load("rest.json")


def name_of(entry):
    body = "" if entry["body"] is None else entry["body"][:30]
    return f"{entry['method']} {entry['path']} {body}"


@transcripts.needed
@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_transcript(entry, half_server):
    body = entry["body"]
    if body is not None:
        body = body.encode()
        if body.startswith(b"<bytes"):
            body = gzip.compress(b'{"instances":[1.0,2.0,5.0]}')
    status, text, response = ask(
        half_server.port, entry["method"], entry["path"], body, entry["req_headers"]
    )
    assert (status, response.reason) == (entry["status"], entry["reason"])
    if entry["response"].startswith("{"):
        assert transcripts.same_json(text, entry["response"])
    else:
        assert text.decode() == entry["response"]
    for header, value in entry["headers"].items():
        if header.lower() == "content-length":
            continue  # white space
        assert response.headers[header].lower() == value.lower()


def arrays(rows):
    """One array for each output, from the rows of an answer."""
    if not isinstance(rows[0], dict):
        return {None: np.array(rows, "float32")}
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    kinds = {"scores": "float32", "events": "int32", "known_events": "int32"}
    return {key: np.array(values, kinds.get(key, object)) for key, values in columns.items()}


@pytest.mark.parametrize("task", NAMES)
def test_answers_are_those_of_python(task, export_server, causal_export):
    histories = [*HISTORIES, "no-such-item nor-this", "é 😀 \U0010ffff"]
    wanted = causal_export.model.predict(task, histories)
    body = {"signature_name": task, "instances": histories}
    status, answer = predict(export_server.port, "peterrec", body)
    assert status == 200
    found = arrays(answer["predictions"])
    if None in found:  # one output alone is not named
        found = {next(iter(wanted)): found[None]}
    assert_same(found, wanted)
    body = {"signature_name": task, "inputs": {"history": histories}}
    _, answer = predict(export_server.port, "peterrec", body)
    outputs = answer["outputs"]
    if not isinstance(outputs, dict):
        outputs = {next(iter(wanted)): outputs}
    assert_same({k: np.array(v, wanted[k].dtype) for k, v in outputs.items()}, wanted)


def test_tens_of_thousands_of_items(export_server, causal_export):
    history = "s5 " * 80_000 + "s1 s2"
    body = {"signature_name": "films", "instances": [history]}
    status, answer = predict(export_server.port, "peterrec", body)
    assert status == 200
    wanted = causal_export.model.predict("films", ["s5 " * 20 + "s1 s2"])
    assert answer["predictions"][0]["items"] == wanted["items"][0].tolist()


def test_bytes_and_numbers(half_server):
    words = [{"b64": base64.b64encode(b"\xff\xfe x").decode()}, "a b c"]
    body = {"signature_name": "words", "instances": words}
    status, answer = predict(half_server.port, "everything", body)
    assert status == 200
    assert answer["predictions"] == [
        {"count": 2, "first_bytes": {"b64": "/w=="}},
        {"count": 3, "first_bytes": {"b64": "YQ=="}},
    ]


def test_outputs_without_batch(half_server):
    body = {"signature_name": "two", "inputs": {"a": 2, "b": [1, 2], "more": 0}}
    status, answer = predict(half_server.port, "everything", body)
    assert (status, answer) == (200, {"outputs": {"y": [2.0, 4.0], "z": 2.0}})


def test_classify_and_regress(half_server):
    path = "/v1/models/everything:"
    body = json.dumps({"signature_name": "classify", "examples": [{"x": 0.5}, {"x": [1.0]}]})
    status, text, _ = ask(half_server.port, "POST", path + "classify", body)
    assert status == 200
    assert json.loads(text) == {"results": [[["a", 0.5], ["b", -0.5]], [["a", 1.0], ["b", -1.0]]]}
    body = json.dumps({"signature_name": "regress", "context": {"x": 4.0}, "examples": [{}]})
    status, text, _ = ask(half_server.port, "POST", path + "regress", body)
    assert (status, json.loads(text)) == (200, {"results": [2.0]})
    # A client may also name the task; `both` answers from its own input as well.
    for name in ("both", "both_regress"):
        body = json.dumps({"signature_name": name, "examples": [{"x": 4.0}, {"x": 1.0}]})
        status, text, _ = ask(half_server.port, "POST", path + "regress", body)
        assert (status, json.loads(text)) == (200, {"results": [2.0, 0.5]})
    status, text, _ = ask(half_server.port, "POST", path + "classify", body)
    assert status == 400 and b"Expected classification signature outputs" in text
    for examples, error in [
        ([{"x": [1, 2.0]}], "Unexpected element type in feature: x expecting type: int64"),
        ([{"x": None}], "Feature: x has element with unexpected JSON type: Null"),
        ([1], "Example must be JSON object but got JSON Number"),
        ([], "JSON Value: "),
    ]:
        body = json.dumps({"signature_name": "regress", "examples": examples})
        status, text, _ = ask(half_server.port, "POST", path + "regress", body)
        assert status == 400 and json.loads(text)["error"].startswith(error)


def test_no_versions_and_names(half_server):
    for path, status, error in [
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("/v1/models/half/versions/9", 404, "Could not find version 9 of model half"),
        ("/v1/models/half/versions/9/metadata", 404, "Servable not found for request: Specific(h"),
    ]:
        got, text, _ = ask(half_server.port, "GET", path)
        assert got == status and json.loads(text)["error"].startswith(error)
    status, text, _ = ask(half_server.port, "GET", "/v1/models/ha%6cf/labels/whatever")
    assert status == 200 and len(json.loads(text)["model_version_status"]) == 2
    status, _, response = ask(half_server.port, "HEAD", "/v1/models/half")
    assert status == 400


def test_errors_of_the_graph(half_server):
    body = {"signature_name": "picky", "instances": [7]}
    status, answer = predict(half_server.port, "everything", body)
    assert status == 400 and "indices[0] = 7 is not in [0, 3)" in answer["error"]


def test_gzip(half_server):
    path, gzipped = "/v1/models/half:predict", {"Content-Encoding": "gzip"}
    for body in (b"no gzip", gzip.compress(b'{"instances":[1]}')[:-9], b""):
        status, text, _ = ask(half_server.port, "POST", path, body, gzipped)
        assert (status, json.loads(text)["error"]) == (
            400,
            "JSON Parse error: The document is empty",
        )


def test_limits(model_folder):
    with running(
        model_base_path=str(model_folder / "everything"),
        max_body_bytes=10_000,
        max_rows=40,
        max_history_bytes=50,
        read_seconds=0.5,
    ) as state:
        path = "/v1/models/peterrec:predict"
        status, text, response = ask(state.port, "POST", path, b" " * 10_001)
        assert status == 413 and "at most 10000 bytes" in json.loads(text)["error"]
        status, _, _ = ask(state.port, "POST", path, iter([b" " * 6000] * 2))  # without a length
        assert status == 413
        bomb = gzip.compress(b" " * 1_000_000)
        assert ask(state.port, "POST", path, bomb, {"Content-Encoding": "gzip"})[0] == 413
        status, answer = predict(state.port, "peterrec", {"instances": [1.0] * 41})
        assert (status, answer["error"]) == (
            400,
            "Task size 41 is larger than maximum input batch size 40",
        )
        body = {"signature_name": "words", "instances": ["a" * 51]}
        status, answer = predict(state.port, "peterrec", body)
        assert status == 400 and "at most 50 bytes" in answer["error"]
        status, _, _ = ask(state.port, "POST", path, b"{", {"Content-Length": "9"})
        assert status == 408
        ask(state.port, "POST", path.replace("peterrec", "nobody"), b" " * 10_001)
        page = ask(state.port, "GET", "/monitoring/prometheus/metrics")[1].decode()
        for code, count in [("RESOURCE_EXHAUSTED", 3), ("DEADLINE_EXCEEDED", 1)]:
            assert f'request_count{{model_name="peterrec",status="{code}"}} {count}.0\n' in page
        assert "nobody" not in page


def test_all_bodies_together_are_limited(model_folder):
    path, body = "/v1/models/peterrec:predict", b'{"instances": [2.0]}' + b" " * 70_000
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    with running(model_base_path=str(model_folder / "half"), max_waiting_bytes=100_000) as state:
        with socket.create_connection(("127.0.0.1", state.port), timeout=30) as client:
            client.sendall(head + body[:-1])
            while state.server._http.config.app._budget.held < len(body) - 1:
                time.sleep(0.01)
            status, text, _ = ask(state.port, "POST", path, body)
            assert (status, json.loads(text)["error"]) == (503, "Too many bytes at a time")
            assert ask(state.port, "POST", path, body.strip())[0] == 200
            client.sendall(body[-1:])
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert ask(state.port, "POST", path, body + b" " * 50_000)[0] == 200  # it is alone


def test_cors(export_server, half_server):
    path, origin = "/v1/models/peterrec", {"Origin": "https://example.org"}
    for method, headers, status in [("GET", {}, 200), ("OPTIONS", origin, 200), ("PUT", {}, 400)]:
        got, _, response = ask(export_server.port, method, path, None, headers)
        assert got == status
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"
        assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"
    status, _, response = ask(half_server.port, "OPTIONS", path, None, origin)
    assert status == 200 and "Access-Control-Allow-Origin" not in response.headers


def test_metrics(export_server):
    predict(export_server.port, "peterrec", {"instances": ["s1"]})
    predict(export_server.port, "peterrec", {"instances": [1]})
    predict(export_server.port, "nobody's", {"instances": [1]})
    status, text, response = ask(export_server.port, "GET", "/monitoring/prometheus/metrics")
    text = text.decode()
    assert status == 200 and response.headers["Content-Type"] == "text/plain"
    prefix = r":tensorflow:serving:"
    for line in [
        f"# TYPE {prefix}request_count counter",
        f"# TYPE {prefix}request_latency histogram",
        prefix + r'request_count\{model_name="peterrec",status="OK"\} \d+.0',
        prefix + r'request_count\{model_name="peterrec",status="INVALID_ARGUMENT"\} \d+.0',
        prefix + r'request_latency_bucket\{API="Predict",entrypoint="REST",le="\+Inf",'
        r'model_name="peterrec"\} \d+.0',
        prefix + r'runtime_latency_count\{API="Predict",model_name="peterrec",runtime="TF1"\} .*',
        prefix + r'batching_session:processed_batch_size_count\{model_name="peterrec"\} \d+.0',
        prefix + r"model_warmup_latency_sum\{.*\} .*",
    ]:
        assert re.search(f"^{line}$", text, re.MULTILINE), line
    others = text.replace("keras_peterrec_history_events_total", "")  # which it does not have
    assert "_total" not in others and "_created" not in text  # but for that, its names alone
    assert len(re.findall('request_latency_bucket.*"Predict".*"REST"', text)) == 34
    assert "nobody" not in text  # what clients make up is not kept


def test_page(export_server, half_server):
    status, text, response = ask(export_server.port, "GET", "/")
    assert status == 200 and response.headers["Content-Type"].startswith("text/html")
    assert not re.search(rb"""(src|href)\s*=|https?://|@import""", text)  # nothing from elsewhere
    _, text, _ = ask(export_server.port, "GET", "/tasks.json")
    model = json.loads(text)["models"]["peterrec"]
    assert model["version"] == 1
    assert model["tasks"] == {
        "serving_default": {"unit": "score", "selects": True},
        "films": {"unit": "score", "selects": True},
        "age-group.v2": {"unit": "probability", "selects": False},
        "tuned": {"unit": "score", "selects": True},
        "topics": {"unit": "probability", "selects": False},
        "spend": {"unit": "number", "selects": False},
    }
    assert all(history.strip() for history in model["examples"])
    _, text, _ = ask(export_server.port, "GET", "/titles.json")
    assert json.loads(text) == {"s0": "Éé", "s1": "One, two"}
    for path in ("/", "/tasks.json", "/healthz", "/v1", "/../etc/passwd"):
        assert ask(half_server.port, "GET", path)[0] == 404


@pytest.mark.parametrize("named", ["task", "signature"])
@pytest.mark.parametrize("signature", OF_EXAMPLES)
def test_an_exports_tasks_classify_and_regress(signature, named, export_server, causal_export):
    """A client may name the task or its signature for examples."""
    verb = signature[signature.rindex("_") + 1 :]
    body = {
        "signature_name": signature if named == "signature" else OF_EXAMPLES[signature],
        "examples": [{"history": history.split()} for history in HISTORIES],
    }
    path = f"/v1/models/peterrec:{verb}"
    status, text, _ = ask(export_server.port, "POST", path, json.dumps(body))
    assert status == 200, text
    rows = json.loads(text)["results"]
    wanted = expected(causal_export, signature, HISTORIES)
    if verb == "regress":
        assert_same({"outputs": np.array(rows)}, wanted)
    else:
        labels, scores = (np.array([[pair[n] for pair in row] for row in rows]) for n in (0, 1))
        assert_same({"classes": labels, "scores": scores}, wanted)


@pytest.mark.parametrize(
    ("signature", "verb", "said"),
    [
        ("spend", "classify", "No classification inputs found in SignatureDef"),
        ("spend_regress", "classify", "Expected classification signature outputs"),
        ("topics", "regress", "No regression inputs found in SignatureDef"),
        ("topics_classify", "regress", "Expected one output Tensor."),
    ],
)
def test_tasks_that_cannot_answer_a_verb(signature, verb, said, export_server):
    body = json.dumps({"signature_name": signature, "examples": [{"history": ["s1"]}]})
    status, text, _ = ask(export_server.port, "POST", f"/v1/models/peterrec:{verb}", body)
    assert status == 400 and json.loads(text)["error"].startswith(said), text


def test_known_and_unknown_events_are_counted_for_prometheus(export_server):
    def counted():
        _, page, _ = ask(export_server.port, "GET", "/monitoring/prometheus/metrics")
        start = 'keras_peterrec_history_events_total{known="'
        found = {}
        for line in page.decode().splitlines():
            if line.startswith(start) and 'signature_name="topics"' in line:
                assert 'model_name="peterrec"' in line
                found[line.removeprefix(start).split('"')[0]] = float(line.rsplit(" ")[-1])
        return [found.get(known, 0) for known in ("true", "false")]

    before = counted()
    for instances in (["s1 x s2", "", "x y"], ["s3"]):
        body = {"signature_name": "topics", "instances": instances}
        assert predict(export_server.port, "peterrec", body)[0] == 200
    body = {"signature_name": "spend", "instances": ["s1 x"]}  # a bare answer says nothing
    assert predict(export_server.port, "peterrec", body)[0] == 200
    assert [after - b for after, b in zip(counted(), before)] == [3, 3]
