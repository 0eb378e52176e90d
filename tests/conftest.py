"""The order of the test files on several processors, how XLA compiles, and a shared export."""

import os

import pytest

# What is compiled here runs for a few steps: a fifth of the compiling is not worth its time.
# Set before TensorFlow is imported, and for the processes that tests start as well.
os.environ.setdefault("XLA_FLAGS", "--xla_llvm_disable_expensive_passes=true")

# The longest: one of them begun last would keep one processor busy and the others waiting.
FIRST = (
    "test_readme.py",
    "test_end_to_end.py",
    "test_notebooks.py",
    "test_engine.py",
    "test_transfer_run.py",
    "serving/test_export.py",
    "test_cli.py",
    "test_pretrainers.py",
    "test_mixed_signature.py",
    "test_step_signature.py",
    "test_pretrain_run.py",
    "test_verify.py",
    "test_multi_task_run.py",
    "test_serve_benchmark.py",
    "test_train_benchmark.py",
    "test_export_run.py",
    "test_linear_run.py",
    "test_micro_batches.py",
    "test_task_model.py",
)


def pytest_configure(config):
    # pytest-xdist would begin with the files of the most tests, which are the quick ones.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    def place(item):
        path = item.path.as_posix()
        return next((n for n, name in enumerate(FIRST) if path.endswith("/" + name)), len(FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def causal_export(tmp_path_factory):
    """A causal, tied host, a task of each kind and one more, and their export."""
    from serving_samples import make_export, make_host  # only here: it imports TensorFlow

    return make_export(make_host(), tmp_path_factory.mktemp("causal"))
