"""Runs are done in another process, which is replaced after some calls."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.experiments import worker_process
from keras_peterrec.experiments.worker_process import WorkerProcess


def test_calls_another_process_and_replaces_it(monkeypatch):
    monkeypatch.setattr(worker_process, "load_tensorflow", os.getpid)  # seconds a process
    with WorkerProcess(calls=2) as worker:
        ids = [worker.call(os.getpid) for _ in range(3)]
    assert ids[0] == ids[1] != ids[2]
    assert os.getpid() not in ids


@pytest.mark.parametrize("mistake", [InputError, Misfit])
def test_a_users_mistake_comes_back_as_one(mistake, monkeypatch):
    monkeypatch.setattr(worker_process, "load_tensorflow", os.getpid)
    with WorkerProcess() as worker:
        with pytest.raises(mistake, match="`k` should be positive. Received: `k` = -1.") as caught:
            worker.call(make_mistake, mistake=mistake)
    assert type(caught.value) is mistake


def make_mistake(mistake):
    raise mistake("`k` should be positive. Received: `k` = -1.")


SILENCED = """
import os, sys
from keras_peterrec.experiments import worker_process
from keras_peterrec.tensorflow_start import silence

def say(text):
    os.write(2, text)

if __name__ == "__main__":
    worker_process.load_tensorflow = os.getpid
    silence()
    with worker_process.WorkerProcess() as worker:
        worker.call(say, text=b"from the worker")
"""


def test_writes_where_its_silenced_parent_does(tmp_path):
    script = tmp_path / "silenced.py"
    script.write_text(SILENCED)
    done = subprocess.run([sys.executable, script], stderr=subprocess.PIPE)
    assert done.stderr == b"from the worker"


ENDLESS = """
import functools, os, time
from keras_peterrec.experiments import worker_process

if __name__ == "__main__":
    worker_process.load_tensorflow = os.getpid
    with worker_process.WorkerProcess() as worker:
        print(worker.call(os.getpid), flush=True)
        worker.call(functools.partial(time.sleep, 600))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the process in /proc")
def test_ends_with_its_parent(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = Path("/proc", parent.stdout.readline().strip())
    assert worker.is_dir()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while worker.is_dir() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.is_dir()


def test_a_killed_process_is_told_and_replaced(monkeypatch):
    monkeypatch.setattr(worker_process, "load_tensorflow", os.getpid)
    with WorkerProcess() as worker:
        with pytest.raises(MemoryError, match="its process was killed"):
            worker.call(kill_myself)
        assert worker.call(os.getpid) != os.getpid()


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)
