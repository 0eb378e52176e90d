"""To whom a run folder belongs: one command, one set of settings, one process at a time."""

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.runs.run_folder import RunFolder

SETTINGS = {"host": "runs/host", "log": "a.csv", "seed": 0, "data": ["sha256:1", "sha256:2"]}
TASKS = {"shop": {"log": "a.csv", "target": "b.csv", "cut_history": True}}


def test_the_same_data_is_the_same_run_wherever_it_lies(tmp_path):
    RunFolder(tmp_path / "run", "transfer", SETTINGS)
    moved = {**SETTINGS, "host": "/elsewhere/host", "log": "./a.csv"}
    before = (tmp_path / "run" / "run.json").read_bytes()
    RunFolder(tmp_path / "run", "transfer", moved)
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    with pytest.raises(InputError, match=r"`data` = \['sha256:1', 'sha256:2'\] rather than"):
        RunFolder(tmp_path / "run", "transfer", {**moved, "data": ["sha256:1", "sha256:3"]})
    with pytest.raises(InputError, match="`seed` = 0 rather than 1"):
        RunFolder(tmp_path / "run", "transfer", {**moved, "seed": 1})


def test_the_tasks_of_a_run_may_lie_elsewhere_but_not_be_read_otherwise(tmp_path):
    RunFolder(tmp_path / "run", "multi_task", {**SETTINGS, "tasks": TASKS})
    moved = {"shop": {**TASKS["shop"], "log": "./a.csv", "target": "/b.csv"}}
    RunFolder(tmp_path / "run", "multi_task", {**SETTINGS, "tasks": moved})
    for others in ({}, {"shop": {**TASKS["shop"], "cut_history": False}}, {"films": TASKS["shop"]}):
        with pytest.raises(InputError, match="a run with `tasks` = "):
            RunFolder(tmp_path / "run", "multi_task", {**SETTINGS, "tasks": others})
