"""What a command says of what the user or the machine did wrong, and what stays a traceback."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from commands import run_here

from keras_peterrec import cli
from keras_peterrec.errors import InputError, refused_by_machine
from keras_peterrec.files.cache_folder import cache_folder
from keras_peterrec.files.json_file import read_json
from keras_peterrec.log.read_log import read_log

INSPECT = ("inspect", "somewhere")


@pytest.fixture
def ends_with(monkeypatch):
    """Has every command raise an error."""

    def of(error):
        def run(settings):
            raise error

        monkeypatch.setattr(cli, "imported", lambda name: SimpleNamespace(with_settings=run))

    return of


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EIO, "Input/output error", "a.npz"), "Input/output error: 'a.npz'"),
        (
            OSError(errno.EROFS, "Read-only file system", "runs/x"),
            "Read-only file system: 'runs/x'",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a\nb"), r"Permission denied: 'a\nb'"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "Address already in use"),
        (MemoryError(), "there is not enough memory"),
        (
            tf.errors.FailedPreconditionError(None, None, "x/events.out; Read-only file system"),
            "x/events.out; Read-only file system",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith shape"),
            "there is not enough memory: OOM when allocating tensor with shape",
        ),
    ],
)
def test_what_the_machine_refuses_is_one_line(error, told, ends_with):
    ends_with(error)
    done = run_here(*INSPECT)
    assert done.returncode == 2
    assert done.stderr == f"keras-peterrec: error: {told} (--verbose says where in the program)\n"


@pytest.mark.parametrize(
    "error",
    [
        *(KeyError("x"), TypeError("x"), ValueError("x"), OSError("without a number")),
        tf.errors.InvalidArgumentError(None, None, "shapes must be equal"),
    ],
)
def test_our_own_faults_keep_their_traceback(error, ends_with):
    assert refused_by_machine(error) is None
    ends_with(error)
    with pytest.raises(type(error)):
        run_here(*INSPECT)


def test_verbose_says_where(ends_with, monkeypatch):
    monkeypatch.setenv(cli.VERBOSE, "1")
    ends_with(OSError(errno.EIO, "Input/output error", "a.npz"))
    done = run_here(*INSPECT, "--verbose")
    assert done.returncode == 2 and "Traceback" in done.stderr and "in run" in done.stderr


def test_a_closed_pipe_is_no_error(ends_with):
    code = "from keras_peterrec.cli import main; main(['experiment', '--help'])"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE)
    assert b"Traceback" not in done.stderr


def test_long_values_are_cut_and_the_hint_after_them_stays():
    text = str(InputError(f"`k` should be short. Received: {'x' * 70_000}; try a shorter one."))
    assert len(text) < 1_100 and text.startswith("`k` should be short. Received: xxx")
    assert " ... (69,020 letters left out) ... xxx" in text and text.endswith("try a shorter one.")
    short = "`k` should be a positive integer. Received: `k` = -1."
    assert str(InputError(short)) == short
    done = run_here("export", "--check", "y" * 70_000)
    assert done.returncode == 2 and len(done.stderr) < 3_000


@pytest.mark.parametrize("ending", ["json", "toml"])
def test_deep_nesting_is_one_line(ending, tmp_path):
    file = tmp_path / f"a.{ending}"
    file.write_text(("a = " if ending == "toml" else "") + "[" * 100_000)
    with pytest.raises(InputError, match="JSON or TOML file that can be read"):
        run = run_here("inspect", "--config", file)
        raise InputError(run.stderr)
    for name in ("host.json", "metrics.json", "prepared.json"):
        (tmp_path / name).write_text("[" * 100_000)
    for words in (("inspect", tmp_path), ("report", tmp_path), ("export", "--host", tmp_path)):
        done = run_here(*words, *(("--out", tmp_path / "1") if words[0] == "export" else ()))
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    log = tmp_path / "log.jsonl"
    log.write_text('{"user_id": ' + "[" * 100_000 + "\n")
    with pytest.raises(InputError, match="readable JSON file"):
        read_log(log)


def test_a_file_that_cannot_be_read_is_not_called_missing(tmp_path, monkeypatch):
    def fail(path, **options):
        raise OSError(errno.EIO, "Input/output error", str(path))

    with pytest.raises(InputError, match="which has none"):
        read_json(tmp_path / "host.json", "host")
    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(InputError, match="one that cannot be read: Input/output error"):
        read_json(tmp_path / "host.json", "host")


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_text_of_parquet_that_is_not_utf8_is_one_line(kind, tmp_path):
    users = pa.array([b"ann", b"caf\xe9"], pa.binary())
    if kind == pa.string():  # as a careless writer does, without looking
        users = pa.Array.from_buffers(pa.string(), 2, users.buffers())
    table = pa.table({"user_id": users, "item_id": ["a", "b"], "timestamp": [1, 2]})
    pa.parquet.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"whose column 'user_id' has b'caf\\xe9' in row 2"):
        read_log(tmp_path / "log.parquet")


def test_a_user_without_a_home_has_a_cache(monkeypatch, tmp_path):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder() == tmp_path / f"keras-peterrec-{os.getuid()}"


def test_run_json_that_names_itself_is_reported_once(tmp_path):
    from keras_peterrec.report.gather import _commands

    settings = {"host": str(tmp_path), "log": "a.csv", "target": "b.csv"}
    run = {"command": "transfer", "settings": settings}
    (tmp_path / "run.json").write_text(json.dumps(run))
    [command] = _commands(tmp_path, run)
    assert command.startswith("keras-peterrec transfer ")
