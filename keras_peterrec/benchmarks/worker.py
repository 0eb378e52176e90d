"""Measured processes: each is one side of a comparison and works only when it is asked.

A benchmark starts a worker with one argument, JSON. That of training holds the
configuration (`items`, `hidden_dim`, `blocks`, `length`, `batch_size`, `negatives`, `loss`,
`precision`, `seed`), `batches`, the path of a `.npy` file `[8, B, L + 1]` of ids, and
`variant`, a name or null. A worker answers with lines of JSON on its standard output:

    at the start    {"name": "torch 2.13", "start_bytes": 300000000}
                    or {"refused": "why it cannot run this configuration"}
    to `run 5`      {"milliseconds": [81.2, ...], "peak_bytes": 812000000, "loss": 9.1}
                    after one more step, which warms the caches and is not timed

and ends when its standard input does. It answers at the start once its first step is done, so
that the time until then is that of loading, building and compiling. `start_bytes` is the resident
memory before the model is built, `peak_bytes` the most so far. `versions`, a dict, may be added
to the first answer. The workers of `benchmark serve` answer other requests in the same way.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_peterrec.compile_cache import SWITCH
from keras_peterrec.types import Json


class WorkerError(RuntimeError):
    """A worker ended or refused; the message says why in one line."""


class Worker:
    """The asking end of a worker process, which gets the settings as JSON, its last argument.

    `caches` is a folder for what compilers keep for the next process, in place of the user's.
    `ready` is the worker's first answer, and `seconds` passed until it came.

    Raises:
        WorkerError: the worker refuses or ends before it is ready.
    """

    def __init__(self, command: Sequence[str], settings: Json, caches: Any = None) -> None:
        self._errors = tempfile.TemporaryFile()
        own = {} if caches is None else _cache_environment(caches)
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [*map(str, command), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **own},
        )
        self.ready = self._answer()
        self.seconds = time.perf_counter() - began
        if "refused" in self.ready:
            self.close()
            raise WorkerError(self.ready["refused"])

    def ask(self, request: str) -> Json:
        """Sends a line and returns the answer to it."""
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; `_answer` finds out why
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            self.close()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().split("\n")[-1]
            status = self._process.returncode
            if status < 0 and not line.strip():  # what it wrote before a kill is not the reason
                said = f"ended by signal {-status}"
            raise WorkerError(line.strip() or said or f"exit status {status}") from None

    def close(self) -> None:
        """Ends the process, by force if it does not end by itself."""
        try:
            self._process.communicate(timeout=10)
        except (subprocess.TimeoutExpired, ValueError, BrokenPipeError):
            self._process.kill()
            self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _cache_environment(folder):
    """Environment variables that tell our compile cache and torch's to use a folder."""
    folder = str(folder)
    return {"XDG_CACHE_HOME": folder, SWITCH: "1", "TORCHINDUCTOR_CACHE_DIR": folder}


def serve(start: Callable) -> None:
    """The answering end: starts, then answers each line of input.

    `start` returns the first answer and a dict of callables by the first word of a request. Each
    gets the other words and returns a dict.
    """
    # What a library prints must not come between the answers.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ready, answers = start()
    print(json.dumps(ready), file=lines, flush=True)
    for request in sys.stdin:
        word, *arguments = request.split()
        print(json.dumps(answers[word](*arguments)), file=lines, flush=True)


def peak_bytes() -> int:
    """The most memory that this process has had resident; psutil knows only the present."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` may be the parent's, from before this program was loaded
        line = next(line for line in status.read_text().split("\n") if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
