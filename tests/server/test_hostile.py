"""What hostile requests may not do: stall the others, or take what is not theirs."""

import base64
import contextlib
import hashlib
import json
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from running_server import ask, predict, running
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_peterrec.server import json_parser
from keras_peterrec.server.server import Server
from keras_peterrec.settings.serve import ServeSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "torture"))
import hostile_requests

PATH = "/v1/models/peterrec:predict"


def test_a_short_round_of_hostile_requests(export_server, capfd):
    """Every kind of request, most of them two or three times; nobody else is refused."""
    # TensorFlow makes another graph for the first request of many rows, for seconds.
    assert predict(export_server.port, "peterrec", {"instances": ["s1"] * 100})[0] == 200
    polite = hostile_requests.Polite(export_server.port, {"instances": ["s1 s2"]})
    done = threading.Event()
    thread = threading.Thread(target=polite.ask, args=[done.is_set])
    thread.start()
    try:
        counts = hostile_requests.attack(export_server.port, 4, 60, 2)
    finally:
        done.set()
        thread.join(60)
    assert sum(counts.values()) > 10 and polite.seconds
    assert polite.failed == []
    answers = {name.split(": ")[1] for name in counts}
    assert answers.isdisjoint({"Internal error", "500", "no answer"}), counts
    assert "Traceback" not in capfd.readouterr().err


def test_many_values_are_counted_before_they_are_parsed(export_server, monkeypatch):
    def parse(body):
        raise AssertionError("parsed")

    monkeypatch.setattr("keras_peterrec.server.json_requests.parse_json", parse)
    for piece in (b"[],", b"{},", b"1,", b'"",'):
        body = b'{"instances": [' + piece * 300_000 + piece[:-1] + b"]}"
        for verb in ("predict", "classify"):
            path = PATH.replace("predict", verb)
            status, text, _ = ask(export_server.port, "POST", path, body)
            assert status == 400
            assert b"at most 262144 brackets, braces and commas" in text


def test_a_request_of_more_than_four_megabytes(export_server):
    for size, status in ((4 << 20) + 1, 413), (4 << 20, 400):
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", export_server.port), timeout=60) as client:
            client.sendall(head.encode())
            with contextlib.suppress(ConnectionError):
                client.sendall(b" " * (size if status == 400 else 1))
            assert client.recv(100).startswith(b"HTTP/1.1 %d" % status)


def test_more_rows_than_allowed_are_not_looked_at(export_server):
    status, answer = predict(export_server.port, "peterrec", {"instances": [[]] * 5000})
    assert (status, answer) == (
        400,
        {"error": "Task size 5000 is larger than maximum input batch size 4096"},
    )


def test_a_large_body_is_parsed_in_pieces(monkeypatch):
    """Between two pieces other threads get Python's lock."""
    sizes, read = [], json_parser._Pieces.read
    monkeypatch.setattr(
        json_parser._Pieces, "read", lambda self, size: sizes.append(size) or read(self, size)
    )
    rows = [["é" * (n % 7), n, n / 4, None, {"a": [n]}] for n in range(3000)]
    body = json.dumps({"instances": rows}, ensure_ascii=False).encode()
    assert json_parser.parse_json(body + b" and more")["instances"] == rows
    assert len(sizes) > len(body) / 4096 and set(sizes) == {4096}


def test_bytes_that_are_not_utf_8_are_read_fast():
    """A dict lookup for each of four million characters took seconds."""
    body = b'{"instances": ["a\xff\xc3\xa9\\u0000", "%s"]}' % (b"\xff" * (4 << 20))
    start = time.perf_counter()
    short, long = json_parser.parse_json(body)["instances"]
    assert time.perf_counter() - start < 2
    assert short.encode("utf-8", "surrogateescape") == b"a\xff\xc3\xa9\0"
    assert long == "\udcff" * (4 << 20)


@pytest.mark.parametrize("depth", [60, 300, 900, 950])
def test_objects_nested_deeply_are_an_error_of_the_client(depth, export_server):
    for name in ("instances", "inputs"):
        body = b'{"%s": [%s1%s]}' % (name.encode(), b'{"a":' * depth, b"}" * depth)
        status, text, _ = ask(export_server.port, "POST", PATH, body)
        assert status == 400, text


@pytest.mark.parametrize(
    "rows", [[["s1", "s2"], ["s3", "s4"]], [["s1", "s2"], ["s3"]], ["s1", ["s2"]]]
)
@pytest.mark.parametrize("named", [False, True])
def test_lists_where_a_string_is_meant(rows, named, export_server):
    rows = [{"history": row} for row in rows] if named else rows
    status, answer = predict(export_server.port, "peterrec", {"instances": rows})
    assert status == 400
    assert (
        "`history` should be one string for each row, a history's ids separated"
        in (answer["error"])
    )
    assert "input must be a vector" not in answer["error"]


def test_a_column_without_rows_is_said_as_well(export_server):
    status, answer = predict(export_server.port, "peterrec", {"inputs": "s1 s2"})
    assert status == 400 and "Received: shape []" in answer["error"]


@pytest.mark.parametrize("dtype", [tf.string.as_datatype_enum])
def test_string_tensors_without_values(dtype, export_server):
    """TensorFlow Serving takes them for empty strings."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "peterrec"
    request.inputs["history"].dtype = dtype
    request.inputs["history"].tensor_shape.dim.add(size=2)
    with grpc.insecure_channel(f"127.0.0.1:{export_server.grpc_port}") as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    items = answer.outputs["items"]
    assert [dim.size for dim in items.tensor_shape.dim] == [2, 10]
    status, plain = predict(export_server.port, "peterrec", {"instances": ["", ""]})
    assert [text.decode() for text in items.string_val] == [
        item for row in plain["predictions"] for item in row["items"]
    ]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8501", 200),
        ("127.0.0.1:80", 200),
        ("127.9.9.9", 200),
        ("[::1]:8501", 200),
        ("peterrec.localhost", 200),
        ("evil.example", 403),
        ("evil.example:8501", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.2", 403),
        ("", 403),
    ],
)
def test_a_loopback_server_answers_to_names_of_this_machine(host, status, export_server):
    """A page may have its own name lead to 127.0.0.1; the browser then lets it read answers."""
    for method, path in (("GET", "/"), ("GET", "/v1/models/peterrec"), ("GET", "/titles.json")):
        found, text, _ = ask(export_server.port, method, path, headers={"Host": host})
        assert found == status, text
    if status == 403:
        assert b"--proxy-host" in text
        body = json.dumps({"instances": ["s1"]})
        assert ask(export_server.port, "POST", PATH, body, {"Host": host})[0] == 403


def test_a_proxy_says_under_which_name_it_asks(model_folder):
    base = str(model_folder / "half")
    with running(model_base_path=base, proxy_host=("Shop.example",)) as state:
        headers = {"Host": "shop.example:443"}
        assert ask(state.port, "GET", "/v1/models/peterrec", headers=headers)[0] == 200
    with running(model_base_path=base, host="0.0.0.0") as state:  # for other machines to ask
        headers = {"Host": "anything.example"}
        assert ask(state.port, "GET", "/v1/models/peterrec", headers=headers)[0] == 200


def test_the_page_runs_its_own_script_and_no_other(export_server):
    _, html, response = ask(export_server.port, "GET", "/")
    policy = dict(
        part.strip().split(" ", 1)
        for part in response.getheader("Content-Security-Policy").split(";")
    )
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    for tag in ("script", "style"):
        (text,) = re.findall(rb"<%b>(.*?)</%b>" % (tag.encode(), tag.encode()), html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    # What such a policy would block.
    assert not re.search(rb"<[^>]*\s(style|on\w+)\s*=", html)
    assert not re.search(rb"<(script|style|link|img|iframe)\s", html)
    assert not re.search(rb"\beval\(|new Function|innerHTML|insertAdjacentHTML", html)


def test_sighup_reads_the_configuration_again(model_folder, tmp_path, monkeypatch, capfd):
    """A terminal that closes sends it as well; the server goes on."""
    file = tmp_path / "models.config"
    text = "model_config_list {{ config {{ name: '{}' base_path: '{}' }} }}"
    file.write_text(text.format("one", model_folder / "half"))
    with running(model_config_file=str(file)) as state:
        file.write_text(text.format("two", model_folder / "half"))
        state.server.reload()
        end = time.monotonic() + 100
        while predict(state.port, "two", {"instances": [2.0]})[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.02)
        file.write_text("half a fi")
        said = ""  # all of it: a line may be half written when it is read
        while "SIGHUP: InputError: `model_config_file`" not in said:
            state.server.reload()  # which is refused where the one before is not done
            time.sleep(0.02)
            said += capfd.readouterr().err
            assert time.monotonic() < end, said
        assert predict(state.port, "two", {"instances": [2.0]})[0] == 200


def test_sighup_while_models_are_loaded(model_folder, capfd):
    before = signal.getsignal(signal.SIGHUP)  # ignored, where this is run under nohup
    Server(ServeSettings(model_base_path=str(model_folder / "half")), lambda *_: None).reload()
    assert "its models are being loaded already" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGHUP) == before
