"""Signatures of more than a history, through the server: single events, and mixed tasks."""

import numpy as np
import pytest
from running_server import predict, running
from serving_samples import assert_same, make_host, make_task, without_counts

from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.transfer.mixed_tasks import MixedTasks

EVENTS = [["s1", "t0"], ["s2", ""], ["unheard-of", "s30"]]  # of two users


@pytest.fixture(scope="module")
def out(tmp_path_factory, unasked):
    host = make_host(blocks=1)
    out = tmp_path_factory.mktemp("others") / "peterrec" / "1"
    mixed = MixedTasks.of_tasks(
        {
            "books": make_task(host, seed=2),
            "age": make_task(host, "classification", seed=3),
            "topics": make_task(host, "multilabel", seed=4),
            "income": make_task(host, "regression", seed=5),
        }
    )
    tasks = {"films": make_task(host), "spend": make_task(host, "regression", seed=6)}
    export(host, tasks, out, k=5, incremental=True, mixed=mixed)
    return out


@pytest.fixture(scope="module")
def port(out):
    with running(model_base_path=str(out.parent)) as state:
        yield state.port


@pytest.fixture(scope="module")
def model(out):
    return ExportedModel(out)


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


def test_rows_name_their_tasks_over_rest(port, model):
    histories = ["s1 s2", "t0", "", "s30 s1", "s1"]
    tasks = ["age", "books", "income", "topics", "no-such-task"]
    found = asked(port, "mixed", [{"history": h, "task": t} for h, t in zip(histories, tasks)])
    assert_same(found, model.mixed(histories, tasks))


def test_a_state_that_is_none_is_told(port):
    row = {"state_bytes": "x", "item": "s1", "seen": ""}
    status, answer = predict(port, "peterrec", {"signature_name": "films_step", "instances": [row]})
    assert status == 400 and "`state_bytes` should be empty" in answer["error"]
