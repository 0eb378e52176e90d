"""`keras-peterrec serve` as a person starts and ends it."""

import builtins
import configparser
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from commands import run_here
from running_server import predict, running
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import keras_peterrec
from keras_peterrec import cli
from keras_peterrec.errors import InputError
from keras_peterrec.server import serve as serve_command
from keras_peterrec.server.serve import FILES


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "keras_peterrec", "serve", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ports_of(process):
    for line in process.stderr:
        if "http://127.0.0.1:" in line:
            return [int(place.split()[0].rstrip(",")) for place in line.split("127.0.0.1:")[1:]]
    raise AssertionError("it ended")


def test_sigterm_under_load(model_folder):
    """What was taken is answered, and nothing more; then the process ends with status 0."""
    process = start(
        "--model-base-path", model_folder / "everything", "--port", 0, "--grpc-port", 0, "--json"
    )
    try:
        port, grpc_port = ports_of(process)
        sent, done = threading.Semaphore(0), []

        def work(n):
            body = {"signature_name": "slow", "instances": [300 + n]}
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                text = json.dumps(body).encode()
                client.sendall(
                    b"POST /v1/models/peterrec:predict HTTP/1.1\r\nHost: localhost\r\n"
                    + f"Content-Length: {len(text)}\r\n\r\n".encode()
                    + text
                )
                sent.release()
                reply = b""
                while b"]" not in reply:
                    part = client.recv(65536)
                    if not part:
                        break
                    reply += part
                done.append((reply.split()[1], f"{300.0 + n}".encode() in reply))

        with (
            ThreadPoolExecutor(17) as pool,
            grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
        ):
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            health = channel.unary_unary("/grpc.health.v1.Health/Check")
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = "peterrec", "slow"
            request.inputs["steps"].CopyFrom(tf.make_tensor_proto([5000]))
            assert health(b"") == b"\x08\x01"
            long = stub.Predict.future(request)
            clients = [pool.submit(work, n) for n in [*range(16), 39_700]]
            for _ in clients:
                sent.acquire()
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError) as error:
                while health(b"") in (b"\x08\x01", b"\x08\x02"):
                    time.sleep(0.01)
            # Of a call that arrives in the very moment gRPC says CANCELLED (grpc/grpc#41785).
            assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            assert not clients[-1].done()  # the one of HTTP that takes longest
            assert list(long.result().outputs["y"].float_val) == [5000]
            for client in clients:
                client.result()
        assert done == [(b"200", True)] * 17
        assert process.wait(60) == 0
        assert json.loads(process.stdout.read())["requests"] == 18
    finally:
        process.kill()
    with pytest.raises(ConnectionError):
        predict(port, "peterrec", {"instances": [1.0]})


SLOW_TO_LOAD = """
import sys, time
from keras_peterrec import cli
from keras_peterrec.server.loaded_version import LoadedVersion

def load(self, path, number, model=""):
    print("loading", file=sys.stderr, flush=True)
    time.sleep(120)

LoadedVersion.__init__ = load
cli.main(["serve", *sys.argv[1:]])
"""


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_models_are_loaded(model_folder, sign):
    """Loading cannot be ended halfway, and may take minutes."""
    words = ["--model-base-path", model_folder / "everything", "--port", 0, "--grpc-port", 0]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_LOAD, *map(str, words)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert any(line == "loading\n" for line in process.stderr)
            process.send_signal(sign)
            assert process.wait(20) == 0
            assert process.stderr.read() == ("keras-peterrec: ends before its models are loaded\n")
        finally:
            process.kill()


def test_a_mistake_is_one_line(tmp_path):
    ports = ("--port", 0, "--grpc-port", 0)
    done = run_here("serve", "--model-base-path", tmp_path / "nowhere", *ports)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "`base_path` of 'peterrec' should hold versions" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["port", "grpc_port"])
def test_a_port_that_is_taken(name, model_folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"port": 0, "grpc_port": 0, name: taken.getsockname()[1]}
        with pytest.raises(InputError, match=f"`{name}` should be a free port") as error:
            with running(model_base_path=str(model_folder / "everything"), **ports):
                pass
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words, error",
    [
        ([], "One of `model_base_path`, `model_config_file` and `write_config` should be given"),
        (["--model-base-path", "a", "--model-config-file", "b"], "One of `model_base_path`, "),
        (["--model-config-file", "no-such-file"], "`model_config_file` should be a file"),
        (["--model-base-path", "a", "--max-rows", "0"], "`max_rows` should be a positive number"),
        (["--model-base-path", "a", "--titles", "no-such-file"], "`titles` should be a CSV file"),
    ],
)
def test_settings_that_cannot_be_used(words, error, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", *words])
    assert ended.value.code == 2
    assert error in capsys.readouterr().err


def test_without_the_extra(monkeypatch, capsys):
    find = serve_command.importlib.util.find_spec
    monkeypatch.setattr(
        serve_command.importlib.util,
        "find_spec",
        lambda name, *more: None if name == "uvicorn" else find(name, *more),
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--model-base-path", "a"])
    assert ended.value.code == 2
    assert 'pip install "keras-peterrec[serve]"' in capsys.readouterr().err


def test_help_needs_nothing(capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *more):
        assert name.split(".")[0] not in ("uvicorn", "grpc", "tensorflow_serving"), name
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    assert "--model-base-path" in capsys.readouterr().out


def test_other_files_are_installed_with_the_package():
    package = Path(keras_peterrec.__file__).parent
    settings = configparser.ConfigParser()
    settings.read(package.parent / "setup.cfg")
    named = {
        path
        for room, names in settings["options.package_data"].items()
        for name in names.replace(",", " ").split()
        for path in package.parent.joinpath(*room.split(".")).glob(name)
    }
    others = {p for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    laid_out = {package / "server" / "deployment" / name for name in FILES}
    assert named == others | laid_out


def test_configs_are_laid_out_and_nothing_is_overwritten(tmp_path):
    source = Path(__file__).parents[2] / "export"
    folder = tmp_path / "export"
    (folder / "peterrec").mkdir(parents=True)
    done = run_here("serve", "--write-config", folder, "--json")
    assert done.returncode == 0, done.stderr
    written = {
        Path(file).relative_to(folder).as_posix() for file in json.loads(done.stdout)["files"]
    }
    assert {"models.config", "compose.yaml", "client_rest.py", "client_grpc.py"} < written
    assert all((folder / name).read_bytes() == (source / name).read_bytes() for name in written)

    (folder / "compose.yaml").write_text("mine")
    (folder / "models.config").unlink()
    done = run_here("serve", "--write-config", folder)
    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert "a folder without the files that are written. Received: " in said
    assert (folder / "compose.yaml").read_text() == "mine"
    assert not (folder / "models.config").exists()
