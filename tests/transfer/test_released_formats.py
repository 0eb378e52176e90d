"""Today's code reads what a version of the format wrote and answers the same, or refuses it."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from released.write import EXPORTED, answer_of, answer_of_host
from task_samples import edit, make_task

from keras_peterrec.errors import InputError
from keras_peterrec.runs.inspect import inspect
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task

RELEASED = Path(__file__).parent / "released"
V2, V6 = RELEASED / "v2", RELEASED / "v6"
ANSWERS = json.loads((V6 / "answers.json").read_text())


loaded_host = functools.cache(Host.load)  # a test of each task would load it again


@pytest.mark.parametrize("name", ANSWERS)
def test_a_task_answers_as_it_did(name):
    host = loaded_host(V6 / name.split("/")[0] / "host")
    is_host = name.endswith("/host")
    found = answer_of_host(host) if is_host else answer_of(Task.load(V6 / name, host))
    assert found.keys() == ANSWERS[name].keys()
    for what, values in ANSWERS[name].items():
        if what == "items":
            assert found[what] == values
        else:
            np.testing.assert_allclose(found[what], values, atol=1e-5)


def test_an_export_answers_as_its_task_did():
    model = ExportedModel(V6 / "export")
    of_its_time = ("item0 item5 item1", "item0 item1 item2 item3 item8", "no-such-item", "")
    found, expected = model.predict("films", of_its_time), ANSWERS[f"causal/{EXPORTED}"]
    assert found["items"].tolist() == expected["items"]
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
    assert found["known_events"].tolist() == [3, 5, 0, 0]


def test_a_task_of_every_kind_is_kept():
    kinds = {json.loads(file.read_text())["kind"] for file in V6.glob("causal/*/task.json")}
    assert kinds == {"recommendation", "classification", "multilabel", "regression"}


def test_inspect_lists_its_tasks():
    found = inspect(V6 / "causal" / "host")
    of_tasks = [name for name in ANSWERS if name.startswith("causal/") and "host" not in name]
    assert len(found["tasks"]) == len(of_tasks)
    patches = {task["task"]: task["patch"] for task in found["tasks"]}
    assert patches["patch-classification"] == "bottleneck:2,serial_single"
    assert patches["all-classification"] is None


def test_version_1_is_refused_in_one_clear_line(host, tmp_path):
    """As 0.1.0 wrote it."""
    settings = PretrainSettings("clicks.csv", tmp_path / "run")
    host.save(tmp_path / "host")
    make_task(host).save(tmp_path / "task", host)
    with RunFolder(settings.out, settings):
        pass
    edit(tmp_path / "host" / "host.json", format_version=1)
    version_1 = {"kind": "classify", "classes": ["a", "b"], "target_items": None, "answers": ...}
    edit(tmp_path / "task" / "task.json", format_version=1, **version_1)
    edit(tmp_path / "run" / "run.json", format_version=1)

    def claim():
        with RunFolder(settings.out, settings):
            pass

    for act, message in (
        (
            lambda: Host.load(tmp_path / "host"),
            "`host` should be of format version 6. "
            f"Received: {str(tmp_path / 'host' / 'host.json')!r}, version 1.",
        ),
        (
            lambda: Task.load(tmp_path / "task", host),
            "`task` should be of format version 5. "
            f"Received: {str(tmp_path / 'task' / 'task.json')!r}, version 1.",
        ),
        (
            claim,
            "`out` should be a new folder or that of the same run. "
            f"Received: {str(tmp_path / 'run')!r}, which holds a run of format version 1, not 2.",
        ),
    ):
        with pytest.raises(InputError) as info:
            act()
        assert str(info.value) == message


def test_version_2_is_refused_in_one_clear_line(host):
    with pytest.raises(InputError) as info:
        Host.load(V2 / "causal" / "host")
    assert str(info.value) == (
        "`host` should be of format version 6. "
        f"Received: {str(V2 / 'causal' / 'host' / 'host.json')!r}, version 2."
    )
    tasks = list(V2.glob("*/*/task.json"))
    assert tasks
    for file in tasks:
        with pytest.raises(InputError) as info:
            Task.load(file.parent, host)
        assert str(info.value) == (
            f"`task` should be of format version 5. Received: {str(file)!r}, version 2."
        )
