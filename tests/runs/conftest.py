"""One small host and a task on simulated data, trained once for the tests of the runs."""

import pytest
import tensorflow as tf
from simulated_tasks import TARGET, next_days

from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.runs.transfer import transfer

SMALL = {"hidden_dim": 16, "blocks": 2, "max_length": 20, "epochs": 2}


@pytest.fixture(scope="session")
def host_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "host"
    pretrain("simulated/source", folder, **SMALL)
    return folder


@pytest.fixture(scope="session")
def task_folder(host_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks") / "shop"
    transfer(host_folder, "simulated/source", folder, **TARGET)
    return folder


@pytest.fixture(scope="session")
def refreshed_host(host_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refreshed") / "host"
    refresh(host_folder, next_days(), folder, epochs=2, learning_rate=5e-3, baselines=False)
    return folder


@pytest.fixture
def eagerly():
    """Steps run as Python does: for a few of them, that takes less time than compiling."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
