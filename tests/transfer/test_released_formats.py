"""Hosts and task bundles that released versions wrote are read, and answer as they did."""

import json
from pathlib import Path

import numpy as np
import pytest
from released.write import HISTORIES

from keras_peterrec.runs.inspect import inspect
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task

RELEASED = Path(__file__).parent / "released"
VERSIONS = sorted(path.name for path in RELEASED.glob("v*"))
NAMES = [
    (version, name)
    for version in VERSIONS
    for name in json.loads((RELEASED / version / "answers.json").read_text())
]


def test_there_is_one_for_each_version():
    assert VERSIONS == ["v1"]


@pytest.mark.parametrize("version, name", NAMES, ids=lambda part: part)
def test_a_task_answers_as_it_did(version, name):
    folder = RELEASED / version
    host = Host.load(folder / name.split("/")[0] / "host")
    task = Task.load(folder / name, host)
    answers = np.asarray(task.model(np.array(HISTORIES)))
    expected = json.loads((folder / "answers.json").read_text())[name]
    np.testing.assert_allclose(answers, expected, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_inspect_lists_its_tasks(version):
    found = inspect(RELEASED / version / "causal" / "host")
    assert len(found["tasks"]) == sum(name.startswith("causal/") for _, name in NAMES)
    patches = {task["task"]: task["patch"] for task in found["tasks"]}
    assert patches["patch-classify"] == "bottleneck:2" and patches["all-recommend"] is None
