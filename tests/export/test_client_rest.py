"""The client over REST, against a server that answers as TensorFlow Serving does."""

import io
import json
import subprocess
import sys
from urllib.error import HTTPError

import client_rest
import pytest
from serving_folder import EXPORT, LOWEST


@pytest.fixture
def url(server):
    return f"http://{server.rest}"


def films(history):
    return {"items": [history, ""], "scores": [0.5, pytest.approx(LOWEST)]}


def films_pairs(history):
    return [[history, 0.5], ["", pytest.approx(LOWEST)]]


def test_each_verb(url):
    histories = ["1193 661", ""]
    assert client_rest.predict(url, "films", histories) == [films(h) for h in histories]
    assert client_rest.predict(url + "/", "embed", ["1193"]) == [[0.25, 0.25]]
    assert client_rest.predict(url, "spend", histories) == [2.0, 0.0]
    assert client_rest.classify(url, "films", histories) == [films_pairs(h) for h in histories]
    assert client_rest.regress(url, "spend", histories) == [2.0, 0.0]
    assert client_rest.predict(url, "films", ["1193"], label="stable") == [films("1193")]


def test_what_a_row_of_select_leaves_out_is_filled_in(monkeypatch):
    asked = []
    monkeypatch.setattr(client_rest, "predict", lambda *arguments: asked.append(arguments[1:3]))
    client_rest.select("http://server", "films", [{"history": "a", "k": 2, "keep_seen": True}])
    row = {"history": "a", "allow": "", "deny": "", "k": 2, "keep_seen": 1}
    assert asked == [("films_select", [row])]


def test_only_available_versions_are_listed(monkeypatch):
    states = {"3": "LOADING", "2": "AVAILABLE", "1": "END"}
    status = [{"version": version, "state": state} for version, state in states.items()]
    monkeypatch.setattr(client_rest, "_ask", lambda *asked: {"model_version_status": status})
    assert client_rest.available_versions("http://server") == [2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nope", ["a"]), 'Serving signature name: "nope" not found'),
        (("films", [1193]), "is not of expected type: string"),
        (("films", ["a"], "other"), "404: Servable not found for request: Latest(other)"),
        (("films", ["a"], "peterrec", "beta"), "400: Unrecognized servable version label: beta"),
        (("films", ["a"], "a/b c"), "Latest(a/b c)"),
    ],
)
def test_refusals_in_the_servers_words(url, arguments, said):
    with pytest.raises(client_rest.ServingError) as error:
        client_rest.predict(url, *arguments)
    assert said in str(error.value)


def test_a_refusal_without_a_body(monkeypatch):
    def refuse(*asked, **timeout):
        raise HTTPError("http://server", 400, "Bad Request", {}, io.BytesIO(b""))

    monkeypatch.setattr(client_rest.urllib.request, "urlopen", refuse)
    with pytest.raises(client_rest.ServingError, match="^400: Bad Request$"):
        client_rest.predict("http://server", "films", ["a"])


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_empty_requests_are_not_sent(verb):
    with pytest.raises(ValueError, match="`histories` should be one string or more"):
        getattr(client_rest, verb)("http://127.0.0.1:9", "films", [])


def test_no_server():
    with pytest.raises(client_rest.ServingError, match="127.0.0.1:9"):
        client_rest.predict("http://127.0.0.1:9", "films", ["a"], timeout=1)


def test_command_line(url):
    def run(*arguments):
        command = [sys.executable, "-S", EXPORT / "client_rest.py", "--server", url, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("--task", "films", "--classify", "1193 661")
    assert json.loads(done.stdout) == [films_pairs("1193 661")]  # -S: without any package
    assert json.loads(run("--task", "spend", "--regress", "1193 661").stdout) == [2.0]
    done = run("--task", "nope", "1193")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("client_rest: error: 400: Serving signature")
    assert run().returncode == 2
