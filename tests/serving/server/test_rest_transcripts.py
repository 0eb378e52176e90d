"""Every answer of the REST API, beside TensorFlow Serving's transcripts."""

import gzip

import pytest
import transcripts
from running_server import ask

ENTRIES = transcripts.load("rest.json")


def name(entry):
    body = "" if entry["body"] is None else entry["body"][:30]
    return f"{entry['method']} {entry['path']} {body}"


@transcripts.needed
@pytest.mark.parametrize("entry", ENTRIES, ids=name)
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
    assert text.decode() == entry["response"]
    for header, value in entry["headers"].items():
        assert response.headers[header].lower() == value.lower()
