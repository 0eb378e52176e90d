"""Events one by one through an export, against the task's own signature on all of them."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_samples import (
    MAX_LENGTH,
    assert_same,
    make_host,
    make_task,
    make_tasks,
    problems,
    without_counts,
)

from keras_peterrec.errors import InputError
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.verify.answers import has_c_loader
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.serving.verify.verify_export import checks

pytestmark = pytest.mark.usefixtures("unasked")

TASKS = ("films", "spend")
ITEM = st.sampled_from(["s1", "s2", "s30", "t0", "t3", "unheard-of"])


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    host = make_host()
    out = tmp_path_factory.mktemp("steps") / "peterrec" / "1"
    tasks = make_tasks(host, history_length=40, window=host.window)
    export(host, tasks, out, k=10, incremental=True)
    return out


@pytest.fixture(scope="module")
def model(stepping_export):
    return stepping_export.model


@settings(max_examples=15, deadline=None)
@given(
    st.data(),
    st.sampled_from(TASKS),
    st.lists(st.lists(ITEM, max_size=4 * MAX_LENGTH), min_size=1, max_size=3),
)
def test_steps_answer_as_the_whole_history_does(model, data, task, histories):
    """Users of different lengths, who come in any order."""
    waiting, states = [list(history) for history in histories], None
    seen = [" ".join(history) for history in histories]
    while any(waiting) or states is None:
        coming = [bool(rest) and data.draw(st.booleans()) for rest in waiting]
        if not any(coming):
            coming = [bool(rest) for rest in waiting]
        items = [rest.pop(0) if comes else "" for rest, comes in zip(waiting, coming)]
        answer = model.step(task, items, states, seen)
        states = answer.pop("state_bytes")
    assert_same(without_counts(answer), model.predict(task, seen))


def test_states_are_bytes_of_the_receptive_field(model):
    first = model.step("films", ["s1", ""])
    # Two rows for each dilation, of 16 channels, one for the last 16 items, and the mark.
    rows = 2 * (1 + 2) + 1
    assert [len(state) for state in first["state_bytes"]] == [4 * 16 * rows + 8] * 2
    again = model.step("films", ["", "s1"], list(first["state_bytes"]))
    np.testing.assert_allclose(again["scores"][0], again["scores"][1], atol=1e-5)
    assert again["state_bytes"][0] == first["state_bytes"][0]  # no event, no change


def test_a_state_of_other_weights_is_refused(model):
    state = model.step("films", ["s1"])["state_bytes"]
    for states in ([state[0][:-1]], [b"x"], [state[0] + b"x"], [state[0][4:]]):
        with pytest.raises(InputError, match="`states` should be empty, or what the last step of"):
            model.step("films", ["s2"], states)
    with pytest.raises(InputError, match="last step of 'spend' answered"):
        model.step("spend", ["s2"], list(state))


def test_reader_refuses_other_steps(model, causal_export):
    with pytest.raises(InputError, match="films, spend. Received: `task` = 'embed'"):
        model.step("embed", ["s1"])
    with pytest.raises(InputError, match="none does"):
        causal_export.model.step("films", ["s1"])
    with pytest.raises(InputError, match="`items` should be a list of strings"):
        model.step("films", "s1")
    with pytest.raises(InputError, match="`states` should be a list of bytes"):
        model.step("films", ["s1"], [""])
    with pytest.raises(InputError, match="lists of one length. Received: 2, 1 and 2"):
        model.step("films", ["s1", "s2"], [b""])


def test_nobody_asks(model):
    for values in model.step("films", []).values():
        assert len(values) == 0


@pytest.mark.slow  # as test_steps_and_mixed_rows_are_answered_by_another_loader shows of two kinds
def test_nothing_is_wrong_with_the_export(out):
    assert problems(out) == []
    folder = ExportFolder(out)
    assert set(folder.signature_defs) >= {f"{task}_step" for task in make_tasks(make_host())}
    asked = dict(folder.warmup)
    assert list(asked["films_step"]) == ["state_bytes", "item", "seen"]
    assert (asked["films_step"]["state_bytes"] == b"").all()
    assert not [name for name in ExportedModel(out).signatures if name.endswith("_step")]
    assert json.loads((out / "assets.extra" / "peterrec.json").read_text())["incremental"] is True


@pytest.mark.skipif(not has_c_loader(), reason="this TensorFlow brings no libtensorflow_cc.so.2")
def test_steps_and_mixed_rows_are_answered_by_another_loader(stepping_export):
    assert checks()["C loader"](ExportFolder(stepping_export.out)) == []


@pytest.mark.slow
def test_steps_add_no_weights(out, causal_export):
    named = [
        {
            name: shape
            for name, shape in tf.train.list_variables(str(path / "variables/variables"))
            if not name.startswith("_CHECKPOINTABLE")
        }
        for path in (out, causal_export.out)
    ]
    assert named[0] == named[1]


def test_masked_hosts_are_refused(tmp_path):
    host = make_host(causal=False)
    with pytest.raises(InputError, match="`incremental` should be used with a causal host") as info:
        export(host, {"films": make_task(host)}, tmp_path / "1", incremental=True)
    assert "\n" not in str(info.value) and list(tmp_path.iterdir()) == []
