"""The order of the test files, how XLA compiles, and what all processes share."""

import collections
import contextlib
import functools
import gc
import json
import os
import re
import shutil
import sys

import pytest
from filelock import FileLock

# What is compiled here runs for a few steps: half of the compiling is not worth its time.
# Set before TensorFlow is imported, and for the processes that tests start as well.
QUICKLY_COMPILED = (
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
)
os.environ.setdefault("XLA_FLAGS", " ".join(QUICKLY_COMPILED))

# The longest: one of them begun last would keep one processor busy and the others waiting.
FIRST = (
    "test_readme.py",
    "test_transfer_run.py",
    "test_head_first.py",
    "test_shared_host.py",
    "test_prepare_run.py",
    "test_export_run.py",
    "test_bulk.py",
    "test_training_habits.py",
    "test_wrapping.py",
    "test_refresh_run.py",
    "test_engine.py",
    "test_any_log_run.py",
    "test_own_network.py",
    "test_linear_tasks.py",
    "test_compiled_step.py",
    "test_mixed_signature.py",
    "test_step_signature.py",
    "test_micro_batches.py",
    "test_end_to_end.py",
    "test_training_together.py",
    "test_notebooks.py",
    "test_fresh_process.py",
    "test_pretrainers.py",
    "test_verify.py",
    "serving/test_export.py",
    "test_task_model.py",
    "test_final_run.py",
    "test_train_benchmark.py",
    "test_pretrain_run.py",
    "test_multi_task_run.py",
    "test_cli.py",
)


# Who opens one of them in a process loads it, and asks its signatures for the first time.
EXPORTS = "causal_export|masked_export|exported|stepping_export|export_server"


def pytest_addoption(parser):
    parser.addoption("--processor-seconds", action="store_true", help="what each file takes")


def pytest_configure(config):
    # pytest-xdist would begin with the files of the most tests, which are the quick ones.
    config.option.loadscopereorder = False
    # Tracing makes many objects that stay for long, as in our commands: a tenth of the time went
    # to looking through them; and modules stay.
    gc.set_threshold(100_000, 50, 100)
    gc.disable()


def pytest_collection_finish():
    if "tensorflow" in sys.modules:
        trace_quickly()
    gc.collect()
    gc.freeze()
    gc.enable()


def trace_quickly():
    """Saves a fifth of what making and first running a graph takes; most run once or twice here.

    TensorFlow does not optimize graphs, and does not note for each operation where in Python it
    was made. `optimized` has it optimize them, as servers do; tests that start processes see that.
    """
    import tensorflow as tf
    from tensorflow.python.util import tf_stack

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    here = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: here


def pytest_collection_modifyitems(items):
    def place(item):
        path = item.path.as_posix()
        named = (n for n, name in enumerate(FIRST) if path.endswith("/" + name))
        return -1 if asks_exports(item.path) else next(named, len(FIRST))

    items.sort(key=place)


@functools.cache
def asks_exports(path):
    return (
        re.search(rf"def \w+\([^)]*\b({EXPORTS})\b|\"({EXPORTS})\"", path.read_text()) is not None
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """All tests of a file run in one process, or each would make the file's fixtures.

    pytest-xdist 3.8 does not see its own `xdist_group` under pytest 9.2, and says nothing.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, _ = nodeid.partition("::")
            return "exports" if asks_exports(config.rootpath / file) else file

    return Together(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.begun = sum(os.times()[:4])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    if call.when == "teardown":
        taken = sum(os.times()[:4]) - item.begun  # of this process, and of those that it waited for
        item.user_properties.append(("processor_seconds", taken))


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("processor_seconds"):
        seconds = collections.Counter()
        for report in terminalreporter.stats.get("", []):  # what is told of no single letter
            file, _, _ = report.nodeid.partition("::")
            seconds[file] += dict(report.user_properties).get("processor_seconds", 0)
        terminalreporter.section(f"processor seconds: {seconds.total():.0f}")
        for file, taken in seconds.most_common(20):
            terminalreporter.line(f"{taken:7.1f} {file}")


@contextlib.contextmanager
def simulated(**sizes):
    """The simulated data that have a name are of these sizes."""
    from keras_peterrec.log import sources
    from keras_peterrec.log.sources.simulated import Simulated

    source = sources._SOURCES["simulated"]._replace(open=lambda: Simulated(**sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sources._SOURCES, "simulated", source)
        sources._open_source.cache_clear()
        yield
    sources._open_source.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def small_simulated():
    """Enough to train on for a few steps, and quickly read."""
    with simulated(users=300, items=150, target_items=60, events=24):
        yield


@pytest.fixture
def whole_simulated():
    """As commands have them, for tests of what is learned."""
    with simulated():
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """The function that gives a folder that one process makes for all: read it alone.

    Args:
        name: str, the folder's.
        make: Callable that fills the folder, an empty one. What it returns is kept as JSON.

    Returns:
        The folder, and what `make` has returned.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name, make):
        folder, returned = base / "made_once" / name, base / "made_once" / f"{name}.json"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_name(f"{name}.lock")):
            if not returned.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that has failed
                folder.mkdir()
                written = json.dumps(make(folder))
                returned.write_text(written)
        return folder, json.loads(returned.read_text())

    return folder_of


@pytest.fixture
def optimized():
    """TensorFlow optimizes graphs before it runs them, as a server does; see `trace_quickly`."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="module")
def unasked():
    """See `without_warmup`."""
    from serving_samples import without_warmup

    with without_warmup():
        yield


@pytest.fixture(scope="module")
def kept_open():
    """Who opens an export that this file has opened finds it loaded, and its graphs prepared."""
    from keras_peterrec.serving import exported_model  # only here: it imports TensorFlow

    load, opened = exported_model.ExportedModel, {}

    def model(path, **how):
        place = os.path.realpath(path)
        if place not in opened:
            opened[place] = load(path, **how)
        return opened[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exported_model, "ExportedModel", model)
        yield model


@pytest.fixture(scope="session")
def causal_export(made_once):
    """A causal, tied host, a task of each kind and one more, and their export."""
    from serving_samples import make_host, shared_export  # only here: it imports TensorFlow

    return shared_export(made_once, "causal", make_host())


@pytest.fixture
def loaded_once(causal_export, monkeypatch):
    """Who opens that export finds it loaded, and its graphs prepared."""
    from keras_peterrec.serving import exported_model

    load = exported_model.ExportedModel

    def model(path, *arguments, **how):
        shared = path == causal_export.out
        return causal_export.model if shared else load(path, *arguments, **how)

    monkeypatch.setattr(exported_model, "ExportedModel", model)


@pytest.fixture(scope="session")
def stepping_export(made_once):
    """Two tasks that also answer event by event, and others mixed, of a causal host."""
    from serving_samples import shared_stepping_export

    return shared_stepping_export(made_once)
