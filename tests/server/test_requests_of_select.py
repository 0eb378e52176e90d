"""Requests that say what may be recommended, and similar items, over REST: as Python answers."""

import pytest
from running_server import predict

REQUESTS = [
    {"history": "s1 s2", "allow": "", "deny": "", "k": 0, "keep_seen": 0},
    {"history": "s1 s2", "allow": "s1 s2 s3 t4", "deny": "s3", "k": 2, "keep_seen": 1},
    {"history": "", "allow": "nobody", "deny": "", "k": 9, "keep_seen": 0},
]


def test_what_may_be_recommended(export_server, causal_export):
    asked = {key: [row[key] for row in REQUESTS] for key in REQUESTS[0]}
    histories = asked.pop("history")
    asked["keep_seen"] = [bool(value) for value in asked["keep_seen"]]
    wanted = causal_export.model.select("films", histories, **asked)
    body = {"signature_name": "films_select", "instances": REQUESTS}
    status, answer = predict(export_server.port, "peterrec", body)
    assert status == 200, answer
    rows = answer["predictions"]
    for row, items, scores in zip(rows, wanted["items"], wanted["scores"], strict=True):
        assert row["items"] == items.tolist()
        assert row["scores"] == pytest.approx(scores.tolist(), rel=1e-4)
    assert set(rows[1]["items"]) < {"s1", "s2", "t4", ""} and rows[1]["items"][2] == ""


def test_similar_items(export_server, causal_export):
    texts = ["s3", "s3 s9", "nobody"]
    wanted = causal_export.model.similar(texts)
    body = {"signature_name": "similar", "instances": texts}
    rows = predict(export_server.port, "peterrec", body)[1]["predictions"]
    assert [row["items"] for row in rows] == wanted["items"].tolist()


def test_every_input_is_needed_as_in_tensorflow_serving(export_server):
    row = {"history": "s1 s2", "k": 2}
    body = {"signature_name": "films_select", "instances": [row]}
    status, answer = predict(export_server.port, "peterrec", body)
    assert status == 400 and "keys must be equal to: allow,deny,history" in answer["error"]
