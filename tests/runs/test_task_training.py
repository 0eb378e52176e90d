"""The recipe of a task: how long an epoch is, what training starts with and ends with."""

import json
import shutil

import numpy as np
import pytest
from task_samples import GENDER, TARGET

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import VALIDATION
from keras_peterrec.errors import InputError
from keras_peterrec.runs.classification import ClassificationData
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.task_data import load_answers
from keras_peterrec.runs.task_training import EPOCH_ROWS, EPOCH_STEPS, FEW_STEPS, epoch_steps
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task


@pytest.mark.parametrize("rows, batch_size", [(129, 16), (400, 16), (1_000, 16), (1_000, 64)])
def test_an_epoch_of_few_rows_reads_each_of_them_once(rows, batch_size):
    assert rows <= epoch_steps(rows, batch_size) * batch_size < rows + batch_size


def test_an_epoch_is_neither_too_short_nor_too_long_to_validate():
    assert epoch_steps(3, 16) == FEW_STEPS
    assert epoch_steps(1_100, 128) == EPOCH_STEPS
    assert epoch_steps(10**6, 16) == EPOCH_ROWS // 16


@pytest.mark.parametrize("method", ["patch", "head"])
def test_training_that_only_harms_ends_with_the_shares_of_the_classes(
    method, host_folder, tmp_path
):
    result = transfer(
        host_folder,
        "simulated/source",
        tmp_path,
        method=method,
        train_fraction=0.05,
        learning_rate=100.0,
        **{**GENDER, "epochs": 2},
    )
    assert (result["epochs"], result["best_epoch"]) == (2, 0)
    harmed = [line.split(",") for line in (tmp_path / "history.csv").read_text().split()]
    log_loss = harmed[0].index("val_log_loss")
    assert min(float(line[log_loss]) for line in harmed[1:]) > 2
    baseline = result["baseline"]["test"]["log_loss"]
    assert result["metrics"]["test"]["log_loss"] == pytest.approx(baseline, abs=0.1)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result


@pytest.fixture
def profile(host_folder):
    """A task model that was not trained, its data, and the validation users' classes."""
    host = Host.load(host_folder)
    source = Sequences(load_log("simulated/source"), host.vocabulary)
    labels = load_answers(None, "simulated/users", "age")
    data = ClassificationData(source, labels, host.max_length)
    return build_task(host.backbone, data.head(), "head"), data, data.splits[VALIDATION].answers


def log_loss(logits, classes):
    return np.mean([np.log(np.exp(z - z[c]).sum()) for z, c in zip(logits, classes)])


@pytest.mark.parametrize("sureness, signal", [(0.1, 1), (3, 1), (3, 0), (3, -1)])
def test_calibration_is_the_best_share_of_what_was_learnt(profile, sureness, signal, monkeypatch):
    model, data, classes = profile
    shares = np.asarray(model.head.bias)
    random = np.random.default_rng(0)
    users = random.normal(size=(len(classes), 16)).astype("float32")
    users[:, : len(shares)] += signal * np.eye(len(shares))[classes]
    model.head.kernel.assign(sureness * np.eye(16, len(shares)))
    model.head.bias.assign(shares + 0.2)
    monkeypatch.setattr(data, "states", lambda *_: users)
    learnt = np.asarray(model.head(users), "float64")
    scale = data.calibrate(model)
    scales = np.arange(10, 1001) / 1000  # at least 0.01, with which users keep their order
    losses = [log_loss(shares + a * (learnt - shares), classes) for a in scales]
    assert abs(scale - scales[np.argmin(losses)]) < 0.006
    assert {(0.1, 1): scale == 1, (3, 1): 0.1 < scale < 0.6}.get((sureness, signal), scale < 0.1)
    calibrated = np.asarray(model.head(users))
    np.testing.assert_allclose(calibrated, shares + scale * (learnt - shares), atol=1e-4)


def test_a_run_is_calibrated(host_folder, tmp_path):
    settings = {**GENDER, "epochs": 3, "train_fraction": 0.1}
    result = transfer(host_folder, "simulated/source", tmp_path, **settings)
    lines = [line.split(",") for line in (tmp_path / "history.csv").read_text().split()]
    seen = [float(line[lines[0].index("val_log_loss")]) for line in lines[1:]]
    assert result["metrics"]["validation"]["log_loss"] <= min(seen) + 1e-6
    test = result["metrics"]["test"]
    assert evaluate(tmp_path)["metrics"]["test"] == pytest.approx(test, abs=1e-6)


def test_a_folder_of_an_earlier_recipe_is_another_run(task_folder, host_folder, tmp_path):
    shutil.copytree(task_folder, tmp_path / "shop")
    asked = json.loads((tmp_path / "shop" / "run.json").read_text())
    asked["settings"]["recipe"] -= 1
    (tmp_path / "shop" / "run.json").write_text(json.dumps(asked))
    with pytest.raises(InputError, match="which holds a run with `recipe` = "):
        transfer(host_folder, "simulated/source", tmp_path / "shop", **TARGET)
