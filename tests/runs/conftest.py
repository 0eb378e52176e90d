"""One small host and tasks on simulated data, trained once for the tests of the runs."""

import contextlib

import pytest
from simulated_tasks import GENDER, SPEND, TARGET, TOPICS, next_days

from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.training.callbacks import ProgressLines

SMALL = {"hidden_dim": 16, "blocks": 1, "max_length": 20, "epochs": 2}


def run_once(made_once, name, run):
    folder, _ = made_once(f"run_{name}", lambda folder: run(folder / name))
    return folder / name


@pytest.fixture(scope="session")
def host_folder(made_once):
    return run_once(made_once, "host", lambda out: pretrain("simulated/source", out, **SMALL))


@pytest.fixture(scope="session")
def task_folder(host_folder, made_once):
    run = lambda out: transfer(host_folder, "simulated/source", out, **TARGET)
    return run_once(made_once, "shop", run)


@pytest.fixture(scope="session")
def label_folders(host_folder, made_once):
    """A task of each column of labels, a head alone: `{column: folder}`."""

    def folder(task):
        settings = {"method": "head", **task}
        run = lambda out: transfer(host_folder, "simulated/source", out, **settings)
        return run_once(made_once, task["column"], run)

    return {task["column"]: folder(task) for task in (GENDER, TOPICS, SPEND)}


@pytest.fixture(scope="session")
def refreshed_host(host_folder, made_once):
    settings = {"epochs": 2, "learning_rate": 5e-3, "baselines": False}
    run = lambda out: refresh(host_folder, next_days(), out, **settings)
    return run_once(made_once, "refreshed", run)


@pytest.fixture
def interrupted(monkeypatch):
    """A block in which a training is interrupted once an epoch, counted from 0, is over.

    `when` says of which training, by the lines that tell of its progress.
    """

    @contextlib.contextmanager
    def block(epoch=0, when=lambda lines: True):
        on_epoch_end = ProgressLines.on_epoch_end

        def interrupt(self, number, logs=None):
            on_epoch_end(self, number, logs)
            if number == epoch and when(self):
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ProgressLines, "on_epoch_end", interrupt)
            yield

    return block


@pytest.fixture(scope="session", autouse=True)
def short_runs():
    """Epochs are short, and tasks keep all that their method trains, which hardly beats noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_peterrec.runs.task_training.why_head_is_all", lambda *_: None)
        patch.setattr("keras_peterrec.runs.task_parts.EPOCH_STEPS", 16)
        patch.setattr("keras_peterrec.runs.task_parts.EPOCH_ROWS", 1_024)
        yield


@pytest.fixture(scope="module", autouse=True)
def rough_intervals():
    """Intervals of fewer samples than those whose coverage tests/metrics looks at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_peterrec.metrics.measured.SAMPLES", 100)
        yield
