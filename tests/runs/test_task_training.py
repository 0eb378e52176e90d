"""The recipe of a task: how long an epoch is, what training starts with and ends with."""

import json
import shutil

import numpy as np
import pytest
from simulated_tasks import GENDER, TARGET
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.files.history_file import read_history
from keras_peterrec.runs import task_parts
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.task_parts import epoch_steps
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.strategies import LEARNING_RATES


@pytest.mark.parametrize("rows, batch_size", [(129, 16), (400, 16), (1_000, 16), (1_000, 64)])
def test_an_epoch_of_few_rows_reads_each_of_them_once(rows, batch_size):
    assert rows <= epoch_steps(rows, batch_size) * batch_size < rows + batch_size


def test_an_epoch_is_neither_too_short_nor_too_long_to_validate():
    assert epoch_steps(3, 16) == task_parts.FEW_STEPS
    assert epoch_steps(1_100, 128) == task_parts.EPOCH_STEPS
    assert epoch_steps(10**6, 16) == task_parts.EPOCH_ROWS // 16


@pytest.mark.parametrize("method", ["head", *slow("patch")])
def test_training_that_only_harms_ends_with_the_shares_of_the_classes(
    method, host_folder, tmp_path
):
    result = transfer(
        host_folder,
        "simulated/source",
        tmp_path,
        method=method,
        train_fraction=0.05,
        learning_rate=1e6,
        linear=False,
        **{**GENDER, "epochs": 2},
    )
    assert (result["epochs"], result["best_epoch"]) == (2, 0)
    harmed = [line.split(",") for line in (tmp_path / "history.csv").read_text().split()]
    log_loss = harmed[0].index("val_log_loss")
    kept = result["metrics"]["validation"]["log_loss"]
    assert min(float(line[log_loss]) for line in harmed[1:]) >= kept - 1e-6
    baseline = result["baseline"]["test"]["log_loss"]
    assert result["metrics"]["test"]["log_loss"] == pytest.approx(baseline, abs=0.1)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    if method == "head":
        assert read_history(tmp_path)["learning_rate"] == pytest.approx([1e6, 1e6])


def test_the_learning_rate_is_the_methods_unless_another_is_given(
    host_folder, tmp_path, monkeypatch
):
    """As that test gives another."""
    monkeypatch.setitem(LEARNING_RATES, "head", 0.02)
    alone = {"method": "head", "linear": False, "baselines": False, "train_fraction": 0.1}
    transfer(host_folder, "simulated/source", tmp_path, **GENDER, **alone)
    assert read_history(tmp_path)["learning_rate"] == pytest.approx([0.02])


def test_a_run_is_calibrated(host_folder, tmp_path):
    alone = {"method": "head", "linear": False, "baselines": False}
    settings = {**GENDER, "epochs": 3, "train_fraction": 0.1, **alone}
    result = transfer(host_folder, "simulated/source", tmp_path, **settings)
    lines = [line.split(",") for line in (tmp_path / "history.csv").read_text().split()]
    seen = [float(line[lines[0].index("val_log_loss")]) for line in lines[1:]]
    assert result["metrics"]["validation"]["log_loss"] <= min(seen) + 1e-6
    test = result["metrics"]["test"]
    assert evaluate(tmp_path)["metrics"]["test"] == pytest.approx(test, abs=1e-6)


def test_a_folder_of_an_earlier_recipe_is_another_run(task_folder, host_folder, tmp_path):
    shutil.copytree(task_folder, tmp_path / "shop")
    asked = json.loads((tmp_path / "shop" / "run.json").read_text())
    asked["recipe"] -= 1
    (tmp_path / "shop" / "run.json").write_text(json.dumps(asked))
    with pytest.raises(InputError, match="which holds a run with `recipe` = "):
        transfer(host_folder, "simulated/source", tmp_path / "shop", **TARGET)


@pytest.mark.slow
def test_an_interrupted_run_in_passes_goes_on_where_it_was(host_folder, tmp_path, interrupted):
    settings = {**TARGET, "epochs": 3, "train_fraction": 0.2, "linear": False, "baselines": False}

    whole = transfer(host_folder, "simulated/source", tmp_path / "whole", **settings)
    with interrupted(epoch=1):
        transfer(host_folder, "simulated/source", tmp_path / "broken", **settings)
    again = transfer(host_folder, "simulated/source", tmp_path / "broken", **settings)
    assert again["metrics"] == whole["metrics"]
    one, other = (np.load(tmp_path / name / "weights.npz") for name in ("whole", "broken"))
    for path in one.files:
        np.testing.assert_array_equal(one[path], other[path])


def test_finish_ends_the_interrupted_training_of_a_task(host_folder, tmp_path, interrupted):
    arguments = host_folder, "simulated/source", tmp_path / "gender"
    settings = {**GENDER, "method": "head", "baselines": False}

    with interrupted():
        transfer(*arguments, **settings)
    result = transfer(*arguments, finish=True, **settings)
    assert (result["epochs"], result["stopped"]) == (1, "finish")
    assert "linear" in result and (tmp_path / "gender" / "task.json").exists()
