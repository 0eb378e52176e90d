"""A disk without room: one line, exit status 2, and what was there stays whole."""

import errno
import json

import numpy as np
import pytest
import tensorflow as tf
from commands import run_here

from keras_peterrec.errors import is_full_disk
from keras_peterrec.files import atomic_write
from keras_peterrec.files.weights_file import read_weights, write_weights

COMMAND = (
    *("pretrain", "--log", "simulated/source", "--hidden-dim", 8, "--blocks", 1),
    *("--max-length", 8, "--epochs", 2, "--no-linear", "--no-baselines"),
)


class FullDisk:
    """Renames files until there is no room."""

    def __init__(self, monkeypatch, after, only=""):
        self.left, self.only, self.rename = after, only, atomic_write.os.replace
        monkeypatch.setattr(atomic_write.os, "replace", self)

    def __call__(self, source, path):
        if self.only in str(path):
            self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        self.rename(source, path)


def test_a_command_ends_in_one_line_and_goes_on_when_there_is_room(tmp_path, monkeypatch):
    out = tmp_path / "host"
    with monkeypatch.context() as patched:
        FullDisk(patched, after=1, only="weights.npz")
        done = run_here(*COMMAND, "--out", out)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("keras-peterrec: error: no space is left on the disk at ")
    assert "Traceback" not in done.stderr and not list(out.rglob("*.writing"))
    assert json.loads((out / "state" / "state.json").read_text())["epoch"] == 1
    again = run_here(*COMMAND, "--out", out)
    assert again.returncode == 0, again.stderr
    assert "epoch  2/2" in again.stderr and "epoch  1/2" not in again.stderr


def test_weights_are_the_old_ones_or_the_new_ones(tmp_path, monkeypatch):
    file = tmp_path / "weights.npz"
    write_weights(file, {"a": np.ones(3)})
    with monkeypatch.context() as patched:
        FullDisk(patched, after=0)
        with pytest.raises(OSError):
            write_weights(file, {"a": np.zeros(3)})
    np.testing.assert_array_equal(read_weights(file)["a"], np.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (tf.errors.ResourceExhaustedError(None, None, "x; No space left on device"), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), False),
    ],
)
def test_errors_of_python_and_of_tensorflow_say_it(error, full):
    assert is_full_disk(error) is full
