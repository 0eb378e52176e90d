"""Signatures of more than a history, through the server: single events, and mixed tasks."""

import numpy as np
import pytest
from running_server import predict, running
from serving_samples import assert_same, without_counts

pytestmark = pytest.mark.slow  # Python asks the same signatures in test_step_signature.py

EVENTS = [["s1", "t0"], ["s2", ""], ["unheard-of", "s30"]]  # of two users


@pytest.fixture(scope="module")
def port(stepping_export):
    with running(model_base_path=str(stepping_export.out.parent)) as state:
        yield state.port


@pytest.fixture(scope="module")
def model(stepping_export):
    return stepping_export.model


def asked(port, signature, instances):
    """Row form to columns."""
    status, answer = predict(
        port, "peterrec", {"signature_name": signature, "instances": instances}
    )
    assert status == 200, answer
    rows = answer["predictions"]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    numbers = ("scores", "value", "events", "known_events")
    return {
        key: np.array(values, "float32" if key in numbers else object)
        for key, values in columns.items()
    }


@pytest.mark.parametrize("task", ["films", "spend"])
def test_steps_carry_their_state_over_rest(port, model, task):
    states, kept, seen = ["", ""], None, ["", ""]
    for items in EVENTS:
        seen = [f"{before} {item}" for before, item in zip(seen, items)]
        wanted = model.step(task, items, kept, seen)
        kept = list(wanted.pop("state_bytes"))
        found = asked(
            port,
            f"{task}_step",
            [
                {"state_bytes": state, "item": item, "seen": known}
                for state, item, known in zip(states, items, seen)
            ],
        )
        states = found.pop("state_bytes").tolist()  # as it came: {"b64": ...}
        assert_same(found, wanted)
    assert_same(without_counts(found), model.predict(task, seen))


@pytest.mark.slow
def test_rows_name_their_tasks_over_rest(port, model):
    histories = ["s1 s2", "t0", "", "s30 s1", "s1"]
    tasks = ["age", "books", "income", "topics", "no-such-task"]
    found = asked(port, "mixed", [{"history": h, "task": t} for h, t in zip(histories, tasks)])
    assert_same(found, model.mixed(histories, tasks))


def test_a_state_that_is_none_is_told(port):
    row = {"state_bytes": "x", "item": "s1", "seen": ""}
    status, answer = predict(port, "peterrec", {"signature_name": "films_step", "instances": [row]})
    assert status == 400 and "`state_bytes` should be empty" in answer["error"]
