"""To whom a run folder belongs: one command, one set of settings, one process at a time."""

import fcntl

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.runs.folder_lock import unlock
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


def test_one_process_at_a_time_works_in_a_folder(tmp_path):
    folder = RunFolder(tmp_path / "run", "transfer", SETTINGS)
    RunFolder(tmp_path / "run", "transfer", SETTINGS)  # this process itself may go on
    with open(tmp_path / "run" / ".lock") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.finish({"found": 1})
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # finished: anybody may read it
    again = RunFolder(tmp_path / "run", "transfer", SETTINGS)
    assert again.earlier_result() == {"found": 1}
    assert {file.name for file in again.path.iterdir()} == {"run.json", "metrics.json"}


@pytest.mark.parametrize("begun", [True, False])
def test_where_another_process_works_is_refused_and_left_alone(begun, tmp_path):
    RunFolder(tmp_path / "run", "transfer", SETTINGS)
    unlock(tmp_path / "run")
    if not begun:  # between its lock and its first file
        (tmp_path / "run" / "run.json").unlink()
    with open(tmp_path / "run" / ".lock", "w") as file:  # a lock is of an open file
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("123\n")
        file.flush()
        with pytest.raises(InputError, match="`out` should be a folder that no .* 123 does.$"):
            RunFolder(tmp_path / "run", "transfer", SETTINGS)
        assert (tmp_path / "run" / "run.json").exists() == begun
    assert RunFolder(tmp_path / "run", "transfer", SETTINGS).earlier_result() is None


@pytest.mark.parametrize("place", ["/proc/nope/run", "file/run", "file"])
def test_a_folder_that_cannot_be_is_one_clear_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=f"`out` should be .*Received: '{place}'") as caught:
        RunFolder(place, "transfer", SETTINGS)
    assert "\n" not in str(caught.value)
