"""`--final`: what ships is trained on everything, for as long as the measured run found best."""

import json
import shutil

import numpy as np
import pytest
from simulated_tasks import GENDER, SPEND, TARGET

from keras_peterrec.errors import InputError
from keras_peterrec.files.history_file import read_history
from keras_peterrec.log.events import Events
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task

SMALLER = {"hidden_dim": 8, "blocks": 1, "max_length": 20, "epochs": 2, "baselines": False}


def circle_log():
    """Walks around a circle of items; two items are in held-out events alone."""
    walks = [[f"i{(user + n) % 10}" for n in range(8)] for user in range(40)]
    walks[0][-1], walks[1][-2] = "new", "newer"
    return Events.from_columns(
        np.repeat(np.arange(40), 8), np.concatenate(walks), np.tile(np.arange(8), 40)
    )


def found(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def measured_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured") / "host"
    pretrain(circle_log(), folder, **SMALLER)
    return folder


@pytest.fixture(scope="module")
def final_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final") / "host"
    pretrain(circle_log(), folder, final=True, **SMALLER)
    return folder


def test_a_final_host_knows_every_item_and_says_what_it_is(final_folder):
    host, result = Host.load(final_folder), found(final_folder)
    assert {"new", "newer"} <= set(host.vocabulary.items)
    assert host.origin["final"] is True
    assert result["final"]["events"] == 320 and result["final"]["items"] == 12
    assert result["data"]["items_only_held_out"] == 2
    assert not (final_folder / "final" / "state").exists()
    weight = result["linear"]["weight"]
    assert (host.pretrainer.linear is not None) == (weight > 0)


def test_it_is_trained_as_long_as_was_best_and_metrics_are_the_measured_runs(
    measured_folder, final_folder, tmp_path
):
    shutil.copytree(measured_folder, tmp_path / "host")
    final, measured = found(final_folder), found(measured_folder)
    assert final["metrics"] == measured["metrics"] and "final" not in measured
    assert Host.load(tmp_path / "host").origin["final"] is False
    assert final["final"]["epochs"] == final["best_epoch"] == sum(final["best_path"])
    assert len(read_history(final_folder / "final")["loss"]) == final["best_epoch"]
    # The same command with one flag more goes on from the measured run.
    again = pretrain(circle_log(), tmp_path / "host", final=True, **SMALLER)
    assert again["final"]["epochs"] == final["final"]["epochs"]
    assert Host.load(tmp_path / "host").fingerprint() == Host.load(final_folder).fingerprint()
    # Without it, a finished run is a finished run.
    assert pretrain(circle_log(), tmp_path / "host", **SMALLER) == found(tmp_path / "host")


@pytest.mark.slow
def test_an_interrupted_final_training_goes_on_where_it_was(measured_folder, tmp_path, interrupted):
    for name in ("host", "whole"):
        shutil.copytree(measured_folder, tmp_path / name)
        path = [1, 1]  # as if the learning rate had dropped
        result = {**found(measured_folder), "best_path": path}
        (tmp_path / name / "metrics.json").write_text(json.dumps(result))

    pretrain(circle_log(), tmp_path / "whole", final=True, **SMALLER)
    with interrupted():
        pretrain(circle_log(), tmp_path / "host", final=True, **SMALLER)
    pretrain(circle_log(), tmp_path / "host", final=True, **SMALLER)
    rates = read_history(tmp_path / "host" / "final")["learning_rate"]
    assert rates == pytest.approx([2e-3, 6e-4])
    whole, again = (np.load(tmp_path / name / "weights.npz") for name in ("whole", "host"))
    for path in whole.files:
        np.testing.assert_array_equal(whole[path], again[path], err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("task", [TARGET, SPEND], ids=["films", "spend"])
def test_a_final_task_is_trained_on_all_users(task, host_folder, tmp_path):
    quick = {**task, "epochs": 1, "method": "head", "baselines": False}
    result = transfer(host_folder, "simulated/source", tmp_path / "task", final=True, **quick)
    host = Host.load(host_folder)
    bundle = Task.load(tmp_path / "task", host)
    assert bundle.final and result["final"]["epochs"] == sum(result["best_path"])
    measured = transfer(host_folder, "simulated/source", tmp_path / "measured", **quick)
    assert result["metrics"] == measured["metrics"]
    assert not Task.load(tmp_path / "measured", host).final
    users = measured["data"]["users"]
    if "labels" in task:
        assert result["final"]["rows"] == users
    # The same settings of the linear part and weights of both parts, other numbers.
    one, other = Task.load(tmp_path / "measured", host).model.linear, bundle.model.linear
    assert one.bag == other.bag and not np.array_equal(one.table, other.table)
    assert np.corrcoef(np.ravel(one.table), np.ravel(other.table))[0, 1] > 0.7


def test_what_is_not_everything_is_refused(host_folder, tmp_path):
    with pytest.raises(InputError, match="`train_fraction` should be left out with `final`"):
        transfer(
            host_folder,
            "simulated/source",
            tmp_path / "task",
            final=True,
            train_fraction=0.5,
            **GENDER,
        )


def test_evaluate_says_that_a_final_run_has_learned_the_test(final_folder, capsys):
    evaluate(final_folder, log=circle_log())
    assert "was trained on everything (--final)" in capsys.readouterr().err
