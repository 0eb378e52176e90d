"""To whom a run folder belongs: one command, one set of settings, one process at a time."""

import json
import threading
import time

import filelock
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.files.finish_request import ask_to_finish, is_asked_to_finish
from keras_peterrec.runs.early_checks import check_places
from keras_peterrec.runs.run_folder import RunFolder, finish_elsewhere
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.settings.transfer import MultiTaskSettings, TransferSettings

SETTINGS = TransferSettings("runs/host", "a.csv", "runs/films", target="b.csv")
PRINTS = ["sha256:1", "sha256:2"]
TASKS = {"shop": {"log": "a.csv", "target": "b.csv", "cut_history": True}}


def open_folder(*arguments):
    """Enters a run's folder and leaves it at once, as a run that is interrupted."""
    with RunFolder(*arguments) as folder:
        return folder


def test_the_same_data_is_the_same_run_wherever_it_lies(tmp_path):
    open_folder(tmp_path / "run", SETTINGS, PRINTS)
    moved = SETTINGS.replace(host="/elsewhere/host", log="./a.csv", out="/elsewhere/films")
    before = (tmp_path / "run" / "run.json").read_bytes()
    open_folder(tmp_path / "run", moved, PRINTS)
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    with pytest.raises(InputError, match=r"`data` = \['sha256:1', 'sha256:2'\] rather than"):
        open_folder(tmp_path / "run", moved, ["sha256:1", "sha256:3"])
    with pytest.raises(InputError, match="`seed` = 0 rather than 1"):
        open_folder(tmp_path / "run", moved.replace(seed=1), PRINTS)
    with pytest.raises(InputError, match="`recipe` = None rather than 4"):
        open_folder(tmp_path / "run", moved, PRINTS, 4)
    with pytest.raises(InputError, match="holds a run of transfer, not pretrain"):
        open_folder(tmp_path / "run", PretrainSettings("a.csv", "runs/films"), PRINTS)


def test_a_run_of_an_earlier_format_is_refused_in_one_line(tmp_path):
    earlier = {"format_version": 1, "command": "transfer", "settings": {"kind": "recommend"}}
    (tmp_path / "run.json").write_text(json.dumps(earlier))
    with pytest.raises(InputError, match="holds a run of format version 1, not 2") as caught:
        open_folder(tmp_path, SETTINGS, PRINTS)
    assert "\n" not in str(caught.value)


def test_the_tasks_of_a_run_may_lie_elsewhere_but_not_be_read_otherwise(tmp_path):
    settings = MultiTaskSettings("a.csv", TASKS, "runs/all")
    open_folder(tmp_path / "run", settings)
    moved = {"shop": {**TASKS["shop"], "log": "./a.csv", "target": "/b.csv"}}
    open_folder(tmp_path / "run", settings.replace(tasks=moved))
    for others in ({"shop": {**TASKS["shop"], "cut_history": False}}, {"films": TASKS["shop"]}):
        with pytest.raises(InputError, match="a run with `tasks` = "):
            open_folder(tmp_path / "run", settings.replace(tasks=others))


def test_one_process_at_a_time_works_in_a_folder(tmp_path):
    other = filelock.FileLock(tmp_path / "run" / ".lock", timeout=0)  # as another process' own
    with RunFolder(tmp_path / "run", SETTINGS) as folder:
        with RunFolder(tmp_path / "run", SETTINGS):
            pass  # this process itself may go on
        with pytest.raises(filelock.Timeout):
            other.acquire()
        folder.finish({"found": 1})
    with other:  # finished: anybody may read it
        again = open_folder(tmp_path / "run", SETTINGS)
        assert again.earlier_result() == {"found": 1}
    left = {file.name for file in (tmp_path / "run").iterdir()} - {".lock"}
    assert left == {"run.json", "metrics.json"}


def test_an_exception_that_leaves_a_notebook_cell_lets_go_of_the_folder(tmp_path):
    cell = {}
    with pytest.raises(ZeroDivisionError):
        with RunFolder(tmp_path / "run", SETTINGS) as cell["folder"]:
            raise ZeroDivisionError  # the notebook keeps the traceback, and so the folder
    with filelock.FileLock(tmp_path / "run" / ".lock", timeout=0):
        pass


@pytest.mark.parametrize("begun", [True, False])
def test_where_another_process_works_is_refused_and_left_alone(begun, tmp_path):
    open_folder(tmp_path / "run", SETTINGS)
    if not begun:  # between its lock and its first file
        (tmp_path / "run" / "run.json").unlink()
    with filelock.FileLock(tmp_path / "run" / ".lock", timeout=0):
        with pytest.raises(InputError, match="`out` should be a folder that no other process"):
            open_folder(tmp_path / "run", SETTINGS)
        assert (tmp_path / "run" / "run.json").exists() == begun
    assert open_folder(tmp_path / "run", SETTINGS).earlier_result() is None


@pytest.mark.parametrize("place", ["/proc/nope/run", "file/run", "file"])
def test_a_folder_that_cannot_be_is_one_clear_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=f"`out` should be .*Received: '{place}'") as caught:
        open_folder(place, SETTINGS)
    assert "\n" not in str(caught.value)


def test_of_several_workers_none_looks_at_the_folder_early(tmp_path, monkeypatch):
    (tmp_path / "run.json.writing").write_text("{")  # as the chief is just writing it
    settings = PretrainSettings("simulated/source", str(tmp_path))
    with pytest.raises(InputError, match="`out` should be a new folder"):
        check_places(settings)
    monkeypatch.setenv("TF_CONFIG", "{}")
    check_places(settings)


def trained(folder, epochs, stopped="epochs"):
    """A folder of a run that has finished."""
    with RunFolder(folder, SETTINGS.replace(epochs=epochs), PRINTS) as run:
        run.finish({"epochs": epochs, "stopped": stopped})
    (folder / "state").mkdir()
    (folder / "state" / "state.json").write_text("{}")
    return folder


@pytest.mark.parametrize("epochs", [2, 9])
def test_an_interrupted_run_takes_another_number_of_epochs(epochs, tmp_path):
    open_folder(tmp_path / "run", SETTINGS.replace(epochs=5), PRINTS)
    again = open_folder(tmp_path / "run", SETTINGS.replace(epochs=epochs), PRINTS)
    assert again.earlier_result() is None
    asked = json.loads((tmp_path / "run" / "run.json").read_text())
    assert asked["settings"]["epochs"] == epochs


def test_a_run_whose_epochs_were_over_goes_on_with_more(tmp_path):
    folder = trained(tmp_path / "run", 5)
    for fewer in (3, 5):
        found = open_folder(folder, SETTINGS.replace(epochs=fewer), PRINTS)
        assert found.earlier_result() == {"epochs": 5, "stopped": "epochs"}
    with RunFolder(folder, SETTINGS.replace(epochs=6), PRINTS) as again:
        assert again.earlier_result() is None and again.measured_result() is None
        with pytest.raises(filelock.Timeout):  # nobody else goes on with it
            filelock.FileLock(folder / ".lock", timeout=0).acquire()


def test_more_epochs_without_the_state_are_one_clear_line(tmp_path):
    folder = trained(tmp_path / "run", 5)
    (folder / "state" / "state.json").unlink()
    with pytest.raises(InputError, match="was trained for 5 epochs, and whose state") as caught:
        open_folder(folder, SETTINGS.replace(epochs=6), PRINTS)
    assert "\n" not in str(caught.value)
    assert open_folder(folder, SETTINGS.replace(epochs=5), PRINTS).earlier_result()


def test_a_run_that_ended_by_itself_needs_no_more_epochs(tmp_path):
    folder = trained(tmp_path / "run", 5, "gain")
    again = open_folder(folder, SETTINGS.replace(epochs=6), PRINTS)
    assert again.earlier_result() == {"epochs": 5, "stopped": "gain"}


def test_finish_asks_the_process_that_trains_and_waits_for_it(tmp_path, capsys):
    folder = tmp_path / "run"
    open_folder(folder, SETTINGS, PRINTS)
    lock = filelock.FileLock(folder / ".lock", timeout=0, thread_local=False)  # of another process

    def other():
        waited = time.monotonic() + 10
        while not is_asked_to_finish(folder) and time.monotonic() < waited:
            time.sleep(0.02)
        (folder / "metrics.json").write_text('{"stopped": "finish"}')
        lock.release()

    lock.acquire()
    process = threading.Thread(target=other)
    process.start()
    settings = SETTINGS.replace(out=folder, finish=True)
    assert finish_elsewhere(settings) == {"stopped": "finish"}
    process.join()
    assert "was asked to end its training now" in capsys.readouterr().err
    assert not is_asked_to_finish(folder)


def test_finish_of_what_nobody_trains_is_for_this_process(tmp_path):
    settings = SETTINGS.replace(out=tmp_path / "run", finish=True)
    with pytest.raises(InputError, match="`finish` should be asked of a run that has begun"):
        finish_elsewhere(settings)
    assert not (tmp_path / "run").exists()
    open_folder(tmp_path / "run", SETTINGS, PRINTS)
    assert finish_elsewhere(settings) is None
    assert finish_elsewhere(settings.replace(finish=False)) is None


def test_a_request_that_nobody_saw_does_not_end_a_later_training(tmp_path):
    open_folder(tmp_path / "run", SETTINGS, PRINTS)
    ask_to_finish(tmp_path / "run")
    with RunFolder(tmp_path / "run", SETTINGS, PRINTS):
        assert not is_asked_to_finish(tmp_path / "run")
        ask_to_finish(tmp_path / "run")  # while it measures
    assert not is_asked_to_finish(tmp_path / "run")
