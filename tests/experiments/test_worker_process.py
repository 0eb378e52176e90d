"""Runs are done in another process, which is replaced after some calls."""

import os

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.experiments import worker_process
from keras_peterrec.experiments.worker_process import WorkerProcess
from keras_peterrec.runs.transfer import transfer


def test_calls_another_process_and_replaces_it(monkeypatch):
    monkeypatch.setattr(worker_process, "load_tensorflow", os.getpid)  # seconds a process
    with WorkerProcess(calls=2) as worker:
        ids = [worker.call(os.getpid) for _ in range(3)]
    assert ids[0] == ids[1] != ids[2]
    assert os.getpid() not in ids


def test_a_users_mistake_comes_back_as_one(tmp_path):
    with WorkerProcess() as worker:
        with pytest.raises(InputError, match="`method` should be one of .*Received: "):
            worker.call(transfer, host="h", log="l", out=tmp_path / "o", method="none")
