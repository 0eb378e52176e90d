"""The client over REST, against a server that answers as TensorFlow Serving does."""

import json
import subprocess
import sys

import client_rest
import pytest
from rest_stub import FILMS
from serving_folder import EXPORT

PAIRS = [["2355", 0.5], ["", -3.40282347e38]]


@pytest.fixture
def server(stub):
    return f"http://{stub.address}"


def test_predict_and_classify(server):
    assert client_rest.predict(server, "films", ["1193 661", ""]) == [FILMS, FILMS]
    assert client_rest.predict(server + "/", "embed", ["1193"]) == [[0.25, 1.0]]
    assert client_rest.classify(server, "films", ["1193 661", ""]) == [PAIRS, PAIRS]
    assert client_rest.predict(server, "films", ["1193"], label="stable") == [FILMS]


def test_only_what_is_available_counts(server):
    assert client_rest.available_versions(server) == [2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nope", ["a"]), 'Serving signature name: "nope" not found'),
        (("films", [1193]), "is not of expected type: string"),
        (("films", ["a"], "other"), "404: Servable not found for request: Latest(other)"),
        (("films", ["a"], "peterrec", "beta"), "400: Unrecognized servable version label: beta"),
        (("films", ["a"], "a/b c"), "Latest(a/b c)"),
        (("films", ["a"], "bodyless"), "400: Bad Request"),
    ],
)
def test_refusals_in_the_servers_words(server, arguments, said):
    with pytest.raises(client_rest.ServingError) as error:
        client_rest.predict(server, *arguments)
    assert said in str(error.value)


def test_no_server():
    with pytest.raises(client_rest.ServingError, match="127.0.0.1:9"):
        client_rest.predict("http://127.0.0.1:9", "films", ["a"], timeout=1)


def test_command_line(server):
    def run(*arguments):
        command = [sys.executable, "-S", EXPORT / "client_rest.py", "--server", server, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("--task", "films", "--classify", "1193 661")
    assert json.loads(done.stdout) == [PAIRS]  # with no package at all (-S)
    done = run("--task", "nope", "1193")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("client_rest: error: 400: Serving signature")
    assert run().returncode == 2
