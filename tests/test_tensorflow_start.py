"""How a command's process starts: TensorFlow imported quickly, and silent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_peterrec import tensorflow_start
from keras_peterrec.compile_cache import use_compile_cache

ROOT = Path(__file__).parents[1]


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


SILENT = """
import os, subprocess, sys
from keras_peterrec.tensorflow_start import silence, stderr_number
silence()
os.write(2, b"from C++\\n")
print("from us", file=sys.stderr)
command = [sys.executable, "-c", "import sys; print('from a child', file=sys.stderr)"]
subprocess.run(command, stderr=stderr_number())
raise ValueError("a traceback")
"""


def test_only_our_own_lines_reach_the_terminal():
    said = run(SILENT).stderr
    assert said.startswith("from us\nfrom a child\nTraceback")
    assert "ValueError: a traceback" in said and "C++" not in said


def test_a_crash_in_native_code_says_where_python_was():
    done = run(
        "import os\n"
        "from keras_peterrec.tensorflow_start import silence\n"
        "def crashing(): os.abort()\n"
        "silence()\n"
        "crashing()\n"
    )
    assert done.returncode == -signal.SIGABRT
    assert "Aborted" in done.stderr and "in crashing" in done.stderr


def test_a_stderr_that_somebody_replaced_stays(capfd):
    before = sys.stderr
    tensorflow_start.silence()
    assert sys.stderr is before
    os.write(2, b"from C++\n")
    assert capfd.readouterr().err == "from C++\n"


LOADED = """
import gc, json, os, sys
from keras_peterrec.tensorflow_start import load_tensorflow
load_tensorflow()
imported = [name for name in ("sklearn", "matplotlib", "scipy") if name in sys.modules]
import keras, matplotlib, scipy, tensorflow as tf
from absl import logging
logging.set_verbosity(logging.get_verbosity())  # as TensorFlow does when it saves a model
logging.warning("from TensorFlow's Python")
twice = tf.function(lambda x: tf.sqrt(x) * 2.0, jit_compile=True)
print(json.dumps([imported, gc.isenabled(), gc.get_freeze_count() > 10_000, float(twice(4.0))]))
os.write(2, b"from C++\\n")
"""


def test_tensorflow_without_what_it_can_do_without_and_with_the_programs_of_before(
    tmp_path, monkeypatch
):
    cache = {"XDG_CACHE_HOME": str(tmp_path), "TF_XLA_FLAGS": ""}
    for name, value in cache.items():
        monkeypatch.setenv(name, value)
    use_compile_cache()
    folder = Path(os.environ["TF_XLA_FLAGS"].split()[0].partition("=")[2])
    half = folder / "half.pb"  # as a machine leaves it that loses its power
    half.write_bytes(b"\x1a\x90\x03" + bytes(99))
    done = run(LOADED, **cache)
    assert json.loads(done.stdout) == [[], True, True, 4.0]
    assert all(line.startswith("loading TensorFlow") for line in done.stderr.splitlines())
    [program] = folder.glob("*.pb")
    assert program != half and program.stat().st_size > 100


def test_whoever_asks_hears_what_tensorflow_says(tmp_path):
    """In place of TensorFlow a module that is imported at once."""
    (tmp_path / "tensorflow.py").write_text("class config:\n    list_physical_devices = dict\n")
    places = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "XDG_CACHE_HOME": str(tmp_path)}
    code = """
import os
from keras_peterrec.tensorflow_start import load_tensorflow
load_tensorflow()
os.write(2, b"from C++\\n")
"""
    for verbose in ("1", "0"):
        said = run(code, **places, KERAS_PETERREC_VERBOSE=verbose).stderr
        assert ("from C++\n" in said) == (verbose == "1"), said


TEMPORARY = """
import os, signal, tempfile
from keras_peterrec.tensorflow_start import use_own_temporary_folder
use_own_temporary_folder()
file = tempfile.NamedTemporaryFile(prefix="__autograph_generated_file", delete=False)
print(file.name, oct(os.stat(os.path.dirname(file.name)).st_mode & 0o777), flush=True)
if DIES:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_commands_temporary_files_are_removed_by_the_next_one(tmp_path):
    def start(dies):
        return run(f"DIES = {dies}\n{TEMPORARY}", TMPDIR=str(tmp_path)).stdout.split()

    left, mode = start(dies=True)
    assert Path(left).is_file() and Path(left).parent.parent == tmp_path and mode == "0o700"
    other, _ = start(dies=False)
    assert other and not os.listdir(tmp_path)


def test_only_the_first_run_of_a_command_begins_with_its_process(monkeypatch):
    now = time.perf_counter()
    monkeypatch.setattr(tensorflow_start, "_process_began", [now - 100])
    assert tensorflow_start.command_began() == now - 100
    assert tensorflow_start.command_began() == pytest.approx(now, abs=10)
