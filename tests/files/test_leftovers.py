"""Several writers of one name, planted links, killed writers: what each of them leaves."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.files import atomic_write
from keras_peterrec.files.atomic_write import publishing, replacing, write_text
from keras_peterrec.files.leftovers import folder_beside, sweep


def test_of_two_writers_of_one_name_each_writes_its_own(tmp_path):
    path = tmp_path / "answers.csv"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one.read_text() == "one"
    assert path.read_text() == "one"  # the last to take the name
    assert os.listdir(tmp_path) == ["answers.csv"]


def test_many_threads_and_processes_write_one_name_and_each_reader_finds_it_whole(tmp_path):
    path, texts = tmp_path / "state.json", [f"{n}" * 20_000 for n in range(4)]
    write_text(path, texts[0])
    context = multiprocessing.get_context("spawn")
    writers = [threading.Thread(target=write_often, args=(path, text)) for text in texts[:2]]
    writers += [context.Process(target=write_often, args=(path, text)) for text in texts[2:]]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in texts
    for writer in writers:
        writer.join()
    assert os.listdir(tmp_path) == ["state.json"]


def write_often(path, text):
    for _ in range(30):
        write_text(path, text)


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    victim, path = tmp_path / "victim", tmp_path / "out.csv"
    victim.write_text("mine")
    (tmp_path / "out.csv.writing").symlink_to(victim)
    write_text(path, "new")
    assert victim.read_text() == "mine" and path.read_text() == "new"
    # Even where the name is guessed.
    monkeypatch.setattr("uuid.uuid4", lambda: type("Known", (), {"hex": "0" * 32}))
    (tmp_path / f".out.csv.{'0' * 32}.writing").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(path, "newer")
    assert victim.read_text() == "mine" and path.read_text() == "new"


KILLED = """
import sys, time
from keras_peterrec.files import atomic_write
way, path = sys.argv[1:]
with getattr(atomic_write, way)(path) as beside:
    if way == "publishing":
        beside.joinpath("deep").mkdir()
        beside = beside / "deep" / "file"
    beside.write_bytes(bytes(1000))
    print("ready", flush=True)
    time.sleep(60)
"""


def killed_later(way, path):
    """A process that writes `path` until it is killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, way, str(path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_killed_writers_left_is_swept_and_what_is_written_stays(tmp_path):
    places = {"replacing": tmp_path / "a.csv", "publishing": tmp_path / "7"}
    writers = [killed_later(way, path) for way, path in places.items()]
    write_text(tmp_path / "b.csv", "")
    sweep(tmp_path)
    written = sorted(os.listdir(tmp_path))
    assert len(written) == 3 and all(name.endswith(".writing") for name in written[:2])
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    (tmp_path / ".theirs.writing").write_text("not a name of ours")
    write_text(tmp_path / "b.csv", "again")
    assert sorted(os.listdir(tmp_path)) == [".theirs.writing", "b.csv"]


def test_who_is_swept_before_the_lock_takes_another_name(tmp_path, monkeypatch):
    from keras_peterrec.files import leftovers

    lock, swept = leftovers._lock, []

    def late(descriptor):
        if not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink()
        return lock(descriptor)

    monkeypatch.setattr(leftovers, "_lock", late)
    write_text(tmp_path / "a", "all")
    assert len(swept) == 1 and (tmp_path / "a").read_text() == "all"


def test_a_folder_is_published_whole_or_not_at_all(tmp_path):
    with pytest.raises(ZeroDivisionError), publishing(tmp_path / "1") as folder:
        (folder / "half").write_text("")
        raise ZeroDivisionError
    assert not os.listdir(tmp_path)
    with publishing(tmp_path / "1") as folder:
        (folder / "file").write_text("whole")
        assert not (tmp_path / "1").exists()
    assert os.listdir(tmp_path) == ["1"] and os.listdir(tmp_path / "1") == ["file"]
    with pytest.raises(InputError, match="`out` should be new.*which appeared meanwhile"):
        with publishing(tmp_path / "1"):
            pass
    assert os.listdir(tmp_path) == ["1"]


def test_a_folder_beside_is_gone_at_the_end(tmp_path):
    with folder_beside(tmp_path / "log") as work:
        (work / "part").write_text("")
        sweep(tmp_path)
        assert (work / "part").exists()
    assert not os.listdir(tmp_path)


def test_content_reaches_the_disk_before_the_name_and_then_the_name(tmp_path, monkeypatch):
    """Whoever loses power finds the old file or the new one, not an empty one of the new name."""
    happened = []
    for name in ("fsync", "replace", "rename"):
        monkeypatch.setattr(atomic_write.os, name, recording(happened, name))
    write_text(tmp_path / "state.json", "{}")
    what, of = zip(*happened)
    assert what == ("fsync", "replace", "fsync")
    assert of[0].endswith(".writing") and of[2] == str(tmp_path)
    happened.clear()
    with publishing(tmp_path / "1") as folder:
        (folder / "assets").mkdir()
        (folder / "assets" / "items.txt").write_text("a")
    what, of = zip(*happened)
    assert what == ("fsync", "fsync", "fsync", "rename", "fsync")
    assert of[0].endswith("items.txt") and of[-1] == str(tmp_path)


def recording(happened, name):
    original = getattr(os, name)

    def record(place, *more):
        known = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else str(place)
        happened.append((name, known))
        return original(place, *more)

    return record
