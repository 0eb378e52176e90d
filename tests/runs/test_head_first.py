"""A task's head is trained first, and what a method trains beside it is kept if it pays."""

import json

import numpy as np
import pytest
from simulated_tasks import GENDER, TARGET
from slow_cases import slow

from keras_peterrec.files.history_file import read_history
from keras_peterrec.log.event_split import TRAIN
from keras_peterrec.runs import task_parts, task_training
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.task_training import TaskRun
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import LEARNING_RATES
from keras_peterrec.transfer.task import Task

SOURCE = "simulated/source"
# Nothing is learned with it beside the head, whose learning rate is its own.
STILL = {"learning_rate": 1e-30}
QUICK = {"epochs": 3, "train_fraction": 0.1, "baselines": False}
# Imported before the tests of runs replace it: elsewhere tasks keep what a few steps have trained.
JUDGE = task_training.why_head_is_all


@pytest.fixture
def judged(monkeypatch):
    monkeypatch.setattr(task_training, "why_head_is_all", JUDGE)


def weights(folder):
    with np.load(folder / "weights.npz") as archive:
        return {path: archive[path] for path in archive.files}


@pytest.mark.parametrize("method", ["patch", *slow("all", "last1")])
def test_where_nothing_is_gained_a_head_is_saved(method, judged, host_folder, tmp_path, capsys):
    out, before = tmp_path / "gender", (host_folder / "weights.npz").read_bytes()
    given = {**GENDER, **QUICK, **STILL, "method": method, "linear": False}
    given |= {"patch": "bias"} if method == "patch" else {}
    result = transfer(host_folder, SOURCE, out, **given)
    assert (host_folder / "weights.npz").read_bytes() == before
    assert "the head says it all here; " in capsys.readouterr().err
    assert result["head"]["is_all"] and result["best_epoch"] == 0
    saved = json.loads((out / "task.json").read_text())
    assert (saved["method"], saved["patch"]) == ("head", None)
    assert not any(path.startswith(("patches/", "host/")) for path in weights(out))
    # What is saved is what was measured: a head, which is served as any other.
    test = result["metrics"]["test"]
    assert evaluate(out)["metrics"]["test"] == pytest.approx(test, abs=1e-6)
    heads = read_history(out / "head")["val_log_loss"]
    # The start, the shares of the classes, counts as an epoch, which is not in the history.
    assert result["metrics"]["validation"]["log_loss"] <= min(heads) + 1e-4


@pytest.mark.parametrize("sure_rows, epochs, why", [(100, 10, "patience"), (10, 2, "start")])
def test_only_long_epochs_give_up_soon(sure_rows, epochs, why, host_folder, tmp_path, monkeypatch):
    """A task of many users has epochs of a part of them, which are too short to tell."""
    monkeypatch.setattr(task_training, "SURE_ROWS", sure_rows)
    for module in (task_training, task_parts):
        monkeypatch.setattr(module, "FEW_ROWS", 1)
    monkeypatch.setattr(task_parts, "EPOCH_ROWS", 32)
    monkeypatch.setattr(task_parts, "EPOCH_STEPS", 2)
    monkeypatch.setattr(TaskData, "measure_sum", lambda *_: {"log_loss": 1.0})
    given = {**GENDER, **STILL, **QUICK, "epochs": 30, "patch": "bias", "linear": False}
    result = transfer(host_folder, SOURCE, tmp_path / "gender", **given | {"train_fraction": 1.0})
    assert (result["epochs"], result["stopped"]) == (epochs, why)


def test_what_pays_is_kept(host_folder, judged, tmp_path, monkeypatch):
    monkeypatch.setitem(LEARNING_RATES, "head", 1e-5)  # the head learns next to nothing
    given = {**TARGET, "epochs": 2, "learning_rate": 5e-3, "linear": False, "baselines": False}
    result = transfer(host_folder, SOURCE, tmp_path / "shop", **given)
    assert not result["head"]["is_all"] and result["best_epoch"] > 0
    gain, error = result["head"]["gain_over_it"], result["head"]["standard_error"]
    assert gain > error > 0
    heads = read_history(tmp_path / "shop" / "head")["val_ndcg@10"]
    whole = read_history(tmp_path / "shop")["val_ndcg@10"]
    assert max(whole) - max(heads) == pytest.approx(gain, abs=2e-3)
    assert any(path.startswith("patches/") for path in weights(tmp_path / "shop"))


@pytest.mark.slow  # as test_strategies.py sees of models
def test_a_new_patch_answers_as_its_head_alone(host_folder, tmp_path):
    """A patch and a head start with the same states of users."""
    found = {}
    for method in ("patch", "head"):
        given = {**GENDER, **QUICK, **STILL, "epochs": 1, "linear": False, "method": method}
        transfer(host_folder, SOURCE, tmp_path / method, **given)
        task = Task.load(tmp_path / method, Host.load(host_folder))
        found[method] = np.asarray(task.model.user_states(np.array([[0, 9, 5, 7]])))
    for method, states in found.items():
        np.testing.assert_allclose(states, found["head"], atol=1e-5, err_msg=method)


@pytest.mark.slow
def test_an_interrupted_task_goes_on_in_its_stage(host_folder, tmp_path, interrupted):
    """Interrupted in the head and then in the rest, it ends as if it had never been."""
    settings = {**GENDER, **QUICK, "linear": False}
    whole = transfer(host_folder, SOURCE, tmp_path / "whole", **settings)
    in_the_head = lambda lines: lines.title.endswith(" head")
    for when in (in_the_head, lambda lines: not in_the_head(lines)):
        with interrupted(epoch=1, when=when):
            transfer(host_folder, SOURCE, tmp_path / "broken", **settings)
    again = transfer(host_folder, SOURCE, tmp_path / "broken", **settings)
    assert again["metrics"] == whole["metrics"]
    assert again["head"] == whole["head"]
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    for path in one:
        np.testing.assert_array_equal(one[path], other[path], err_msg=path)
    # No epoch was trained twice.
    assert len(read_history(tmp_path / "broken" / "head")["loss"]) == whole["head"]["epochs"]


@pytest.mark.slow
def test_finish_in_the_head_saves_the_head(host_folder, tmp_path, interrupted):
    settings = {**GENDER, **QUICK}
    with interrupted():
        transfer(host_folder, SOURCE, tmp_path / "gender", **settings)
    result = transfer(host_folder, SOURCE, tmp_path / "gender", finish=True, **settings)
    assert result["stopped"] == "finish" and result["head"]["is_all"]
    assert Task.load(tmp_path / "gender", Host.load(host_folder)).method == "head"


@pytest.mark.slow
@pytest.mark.parametrize("emptied", [True, False])
def test_a_final_task_repeats_both_stages(emptied, host_folder, tmp_path, monkeypatch):
    why = "it was" if emptied else None
    monkeypatch.setattr(task_training, "why_head_is_all", lambda *_: why)
    given = {**GENDER, "epochs": 2, "learning_rate": 1e-2, "linear": False, "baselines": False}
    result = transfer(host_folder, SOURCE, tmp_path / "gender", final=True, **given)
    of_head, of_rest = sum(result["head"]["best_path"]), sum(result["best_path"])
    assert result["final"]["epochs"] == of_head + (0 if emptied else of_rest)
    bundle = Task.load(tmp_path / "gender", Host.load(host_folder))
    assert bundle.final and bundle.method == ("head" if emptied else "patch")
    folder = tmp_path / "gender" / "final"
    for place, epochs in ((folder / "head", of_head), (folder, 0 if emptied else of_rest)):
        assert len(read_history(place).get("loss", [])) == epochs
        assert not (place / "state").exists()


@pytest.mark.slow
def test_a_head_gives_its_start_to_any_method(host_folder, label_folders, tmp_path, monkeypatch):
    quick = {**GENDER, **QUICK, "linear": False}
    monkeypatch.setitem(LEARNING_RATES, "head", 1e-30)  # from here on it stays as it is
    started = {**quick, **STILL, "start": label_folders["gender"], "patch": "lora:2"}
    result = transfer(host_folder, SOURCE, tmp_path / "patch", **started)
    assert result["head"]["best_epoch"] >= 0
    old, new = (
        Task.load(folder, Host.load(host_folder)).model.head.kernel
        for folder in (label_folders["gender"], tmp_path / "patch")
    )
    assert np.corrcoef(np.ravel(old), np.ravel(new))[0, 1] > 0.99


def test_a_head_is_trained_in_whole_passes(host_folder, tmp_path, monkeypatch):
    seen = {}

    def remember(run, stage, parts, *rest):
        steps, (states, _) = int(parts.batches.cardinality()), parts.batches.element_spec
        seen.update(rows=run.data.splits[TRAIN], steps=steps, batch=states.shape[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(TaskRun, "fit", remember)
    with pytest.raises(KeyboardInterrupt):
        transfer(host_folder, SOURCE, tmp_path / "shop", method="head", **TARGET)
    rows = len(seen["rows"])
    assert rows <= seen["steps"] * seen["batch"] < rows + seen["batch"]
    assert seen["batch"] <= task_parts.HEAD_BATCH


@pytest.mark.slow
def test_the_network_alone_is_measured_as_if_it_were_served_alone(host_folder, tmp_path):
    settings = {**GENDER, **QUICK, "method": "head"}
    both = transfer(host_folder, SOURCE, tmp_path / "both", **settings)
    alone = transfer(host_folder, SOURCE, tmp_path / "alone", **settings, linear=False)
    assert both["network_weight"] != alone["network_weight"]
    measured = alone["metrics"]["test"]["log_loss"]
    assert both["parts"]["network alone"]["log_loss"] == pytest.approx(measured, abs=1e-5)
