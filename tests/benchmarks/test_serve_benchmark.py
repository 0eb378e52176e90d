"""`keras-peterrec benchmark serve` as a person types it, and its client."""

import csv
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import matplotlib.pyplot as plt
import pytest
from commands import run_here

from keras_peterrec.benchmarks.serve import _medians, loopback_model
from keras_peterrec.benchmarks.serve_load import Client, percentiles
from keras_peterrec.errors import InputError

SMALL = ("--items", 60, "--targets", 20, "--hidden-dim", 4, "--blocks", 1, "--length", 6)
NAMES = {"serving_default", "films", "age"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The command's folder and what it printed; the README's test runs it each time."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    words = (*SMALL, "--seconds", 0.3, "--connections", 1, "--connections", 8, "--out", out)
    done = subprocess.run(
        [sys.executable, "-m", "keras_peterrec", "benchmark", "serve", "--json", *map(str, words)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


@pytest.mark.slow
def test_files_say_what_was_printed(finished):
    out, result = finished
    assert json.loads((out / "metrics.json").read_text()) == result
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(result["rows"]) == 2 * len(NAMES)
    for line, row in zip(lines, result["rows"]):
        assert (line["signature"], int(line["requests"])) == (row["signature"], row["requests"])
        assert float(line["p99_ms"]) == row["p99_ms"]
    table = (out / "table.md").read_text()
    assert result["machine"]["processor"] in table and "| films           | 16 " in table
    assert plt.imread(out / "plot.png").std() > 0


@pytest.mark.slow
def test_numbers_are_consistent(finished):
    _, result = finished
    assert {row["signature"] for row in result["rows"]} == NAMES
    for row in result["rows"]:
        assert row["errors"] == 0 and row["requests"] > 0 and row["failures"] == {}
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["max_ms"]
        # Three turns of a tenth of a second; the median of three is no more than their sum.
        assert row["requests_per_second"] * 0.1 <= row["requests"]
        assert row["share_of_ceiling"] > 0 and row["times_call"] > 0
    sizes = {(each["batch"], each["callers"]) for each in result["ceilings"]}
    assert (1, 1) in sizes and {batch for batch, _ in sizes} == {1, 16, 64}
    for each in result["ceilings"]:
        assert each["histories_per_second"] > 0 and 0 < each["p50_ms"] <= each["p99_ms"]


def test_turns_become_one_row():
    turns = [
        {"requests": 3, "errors": 1, "failures": {"503": 1}, "p50_ms": 2.0},
        {"requests": 5, "errors": 0, "failures": {}, "p50_ms": 9.0},
        {"requests": 0, "errors": 2, "failures": {"503": 1, "404": 1}, "p50_ms": None},
    ]
    assert _medians(turns) == {
        "requests": 8,
        "errors": 3,
        "failures": {"503": 2, "404": 1},
        "p50_ms": 5.5,
    }


@pytest.mark.slow
def test_client_and_server_count_alike(finished):
    (counts,) = finished[1]["counts"]
    assert counts["counted_by_server"] == counts["client"]
    measured = sum(row["requests"] for row in finished[1]["rows"])
    assert measured <= counts["counted_by_server"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--url", "http://192.0.2.1:8501/v1/models/x"], "`url` should be on this machine"),
        (["--url", "http://example.org/v1/models/x"], "`url` should be on this machine"),
        (["--url", "http://127.0.0.1.example.org/v1/models/x"], "`url` should be on this machine"),
        (["--url", "http://127.0.0.1:8501/"], "`url` should be a model's address"),
        (["--url", "https://127.0.0.1/v1/models/x"], "`url` should be a model's address"),
        (["--seconds", "3600"], "`seconds` should be above 0 and at most 60"),
        (["--connections", "10000"], "`connections` should be from 1 to 256"),
        (["--connections", "0"], "`connections` should be from 1 to 256"),
        (["--items", "0"], "`items` should be a positive integer"),
        (["--model", "nowhere"], "`model` should be an export"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(words, message):
    done = run_here("benchmark", "serve", *words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"keras-peterrec: error: {message}")
    assert done.stderr.count("\n") == 1


def test_addresses_of_this_machine():
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1"):
        name = f"[{host}]" if ":" in host else host
        assert loopback_model(f"http://{name}:8501/v1/models/x") == (host, 8501, "/v1/models/x")


def test_client_refuses_other_machines_itself():
    with pytest.raises(InputError, match="`url` should be on this machine"):
        Client("http://192.0.2.1:8501/v1/models/x", {})


class Moody(BaseHTTPRequestHandler):
    """Of three requests one is refused, and one finds its connection closed."""

    protocol_version = "HTTP/1.1"
    asked = 0
    lock = threading.Lock()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with Moody.lock:
            Moody.asked += 1
            turn = Moody.asked % 3
        if turn == 1:
            self.close_connection = True
            return
        body = b'{"predictions": []}'
        self.send_response(503 if turn == 2 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture
def moody_port():
    Moody.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_errors_are_counted(moody_port):
    url = f"http://127.0.0.1:{moody_port}/v1/models/x"
    client = Client(url, {"films": ["{}", '{"a": 1}']})
    cell = client.load("films", 4, 0.4, 0)
    assert set(cell["failures"]) == {"503", "ConnectionResetError"}
    assert cell["errors"] == sum(cell["failures"].values())
    assert client.answered + cell["failures"]["ConnectionResetError"] == Moody.asked
    assert cell["requests"] > 0
    assert abs(cell["requests"] - Moody.asked / 3) <= 6


def test_server_that_is_gone_is_counted_as_errors():
    cell = Client("http://127.0.0.1:1/v1/models/x", {"a": ["{}"]}).load("a", 2, 0.1, 0)
    assert cell["requests"] == 0 and cell["p50_ms"] is None
    assert set(cell["failures"]) == {"ConnectionRefusedError"}


@pytest.mark.slow
def test_server_without_the_signatures_is_refused(moody_port):
    done = run_here(
        "benchmark", "serve", *SMALL, "--url", f"http://127.0.0.1:{moody_port}/v1/models/x"
    )
    assert done.returncode == 2
    assert "`url` should be a model that answers one of the signatures" in done.stderr


def test_percentiles():
    assert percentiles([0.001 * n for n in range(101)]) == pytest.approx(
        {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "max_ms": 100.0}
    )
    assert percentiles([0.002])["p99_ms"] == 2.0
