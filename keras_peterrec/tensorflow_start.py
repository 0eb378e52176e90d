"""How our commands start TensorFlow: quickly, silently and with what was compiled before.

Only the command line and the processes that it starts call this. A Python program that imports
the library keeps its own TensorFlow, stderr and garbage collection.
"""

import atexit
import contextlib
import faulthandler
import gc
import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import absl.logging

from keras_peterrec.compile_cache import use_compile_cache
from keras_peterrec.files.leftovers import folder_beside

VERBOSE = "KERAS_PETERREC_VERBOSE"
# Keras and TensorFlow import these if they are installed, and go on if they are not. Our commands
# need none of them while TensorFlow is imported, and the first two take half a second.
OPTIONAL = ("sklearn", "matplotlib", "scipy", "IPython")
_process_began = []  # until the first run asks, see `command_began`


def load_tensorflow():
    """Imports TensorFlow into the process of a command.

    What TensorFlow says does not reach the terminal, now or later, unless `KERAS_PETERREC_VERBOSE`
    is set; see `silence`. Does nothing where TensorFlow has been imported already.

    Raises:
        ImportError: TensorFlow cannot be imported.
    """
    if "tensorflow" in sys.modules:
        return
    verbose = os.environ.get(VERBOSE, "0") not in ("", "0")
    if not verbose:
        silence()
    use_compile_cache(verbose)
    use_own_temporary_folder()
    # Only here: `--help` does without them.
    import psutil

    from keras_peterrec.progress import stage

    age = time.time() - psutil.Process().create_time()
    _process_began[:] = [time.perf_counter() - age]
    # Nothing that is imported becomes garbage, so looking for it is a waste: 0.8 s of 3.
    with stage("loading TensorFlow", brief=True), _no_collection(), _not_importable(OPTIONAL):
        import tensorflow as tf

        tf.config.list_physical_devices()
    gc.freeze()  # and what stays need not be looked through later: 0.6 s of a short run
    # Tracing makes many objects that stay for long: looking through them took a tenth of it.
    gc.set_threshold(20_000, 50, 100)


def use_own_temporary_folder():
    """Gives this process a temporary folder of its own, which the next command removes if need be.

    TensorFlow writes Python files there, a hundred for a training, and a process that is killed
    does not remove them.
    """
    stack = contextlib.ExitStack()
    with contextlib.suppress(OSError):  # nothing to write there: then nothing to remove
        folder = stack.enter_context(folder_beside(Path(tempfile.gettempdir()) / "keras-peterrec"))
        folder.chmod(0o700)
        tempfile.tempdir = str(folder)
        atexit.register(stack.close)


def command_began():
    """When the command began, as `time.perf_counter` counts.

    That is when its process was started, for the first run in the process of a command; for any
    other run it is now.
    """
    return _process_began.pop() if _process_began else time.perf_counter()


def silence():
    """Keeps what libraries write to this process's stderr away from the terminal.

    TensorFlow's C++ writes to file descriptor 2, whatever Python's `sys.stderr` is, and no setting
    silences all of it. So descriptor 2 becomes `/dev/null`, and `sys.stderr` writes to a copy of
    what it was. A process that crashes in C++ still shows there where it was in Python. Where
    somebody else has replaced `sys.stderr`, such as a test, nothing is changed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    absl.logging.set_verbosity(absl.logging.ERROR)  # others set it back to this
    warnings.filterwarnings("ignore", module=r"(tensorflow|keras)\b")
    if sys.stderr is None or sys.stderr is not sys.__stderr__:
        return
    sys.stderr.flush()
    written = {"encoding": sys.stderr.encoding, "errors": sys.stderr.errors}
    sys.stderr = open(os.dup(2), "w", buffering=1, **written)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    faulthandler.enable(sys.stderr)


def stderr_number():
    """The file descriptor that our own lines go to, for the processes that a command starts.

    They would inherit descriptor 2, which `silence` has changed.
    """
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError):  # replaced by an object that is no file
        return 2


@contextlib.contextmanager
def _no_collection():
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _not_importable(names):
    """Within the block, importing these packages fails as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # Python raises ImportError where it finds None
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
