"""Both ends of the line between the benchmark and a measured process."""

import sys

import pytest

from keras_peterrec.benchmarks.worker import Worker, WorkerError

CHATTY = """
import sys
import numpy as np
from keras_peterrec.benchmarks.worker import peak_bytes, serve
held = []

def grow(mebibytes):
    print("a library prints this")
    before = peak_bytes()
    held.append(np.ones(int(mebibytes) * 2**20, "uint8"))
    return {"grown": (peak_bytes() - before) / 2**20}

serve(lambda: ({"name": "chatty", "settings": sys.argv[1]}, {"grow": grow}))
"""


def test_answers_come_through_whatever_is_printed():
    with Worker([sys.executable, "-c", CHATTY], {"items": 3}) as worker:
        assert worker.ready == {"name": "chatty", "settings": '{"items": 3}'}
        # What is resident includes what was asked for.
        assert 60 <= worker.ask("grow 64")["grown"] <= 80
        assert worker.ask("grow 1")["grown"] <= 10
    assert worker._process.returncode == 0


def test_last_line_of_a_failure_is_the_reason():
    with pytest.raises(WorkerError, match="^ModuleNotFoundError: No module named 'nowhere'$"):
        Worker([sys.executable, "-c", "import nowhere"], {})
    with Worker([sys.executable, "-c", CHATTY], {}) as worker:
        with pytest.raises(WorkerError, match="KeyError: 'shrink'"):
            worker.ask("shrink 1")


def test_answer_that_is_no_json_is_the_reason():
    with pytest.raises(WorkerError, match="^hello$"):
        Worker([sys.executable, "-c", "print('hello')"], {})


def test_signal_that_ended_a_worker_is_the_reason():
    code = "import os, sys; print('loading', file=sys.stderr, flush=True); os.kill(os.getpid(), 15)"
    with pytest.raises(WorkerError, match="^ended by signal 15$"):
        Worker([sys.executable, "-c", code], {})
