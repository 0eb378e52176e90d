"""A process for training runs that is replaced before its memory grows."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import reduction
from typing import Any

from keras_peterrec.tensorflow_start import load_tensorflow, stderr_number


class WorkerProcess:
    """Calls functions in another process, which is replaced after some `calls` (`None`: never).

    TensorFlow keeps what it compiled for a model until its process ends: some 100 MB for each run,
    whatever is deleted. An experiment has hundreds of runs.

    The process ends with its parent, however the parent ends.

    `environment` is added to the process's own.
    """

    def __init__(
        self, calls: int | None = 10, environment: Mapping[str, str] | None = None
    ) -> None:
        self._calls, self._environment = calls, environment or {}
        self._pool = self._new_pool()

    def _new_pool(self):
        return ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),  # TensorFlow does not fork
            initializer=_begin,
            initargs=(load_tensorflow, _Stderr(), self._environment),
            max_tasks_per_child=self._calls,
        )

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Calls `function(**arguments)` there; returns or raises what it does.

        Raises:
            MemoryError: the process was killed, as systems do where memory is out. The next call
                has a new one.
        """
        try:
            return self._pool.submit(function, **arguments).result()
        except BrokenProcessPool as error:
            self._pool.shutdown(wait=False)
            self._pool = self._new_pool()
            raise MemoryError("its process was killed, most likely for its memory") from error

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._pool.shutdown(cancel_futures=True)


class _Stderr:
    """Our stderr, which arrives in a new process as a number to call `detach` on."""

    def __reduce__(self):
        return _same, (reduction.DupFd(stderr_number()),)


def _same(thing):
    return thing


def _begin(prepare, stderr, environment):
    """The first thing that a new process does."""
    os.environ.update(environment)
    # It inherits descriptor 2, which a command has silenced; see `tensorflow_start.silence`.
    os.dup2(stderr.detach(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare()


def _end_with_parent():
    # A killed parent cannot end its children, and a child would go on training for hours.
    multiprocessing.parent_process().join()
    os._exit(1)
