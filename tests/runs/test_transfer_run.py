"""Transfer as a run: what is written, what stays as it was, what is refused."""

import json

import numpy as np
import pytest
from simulated_tasks import GENDER, SPEND, TARGET, TOPICS
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.batches import task_batches
from keras_peterrec.log.event_split import TEST, TRAIN, VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.sources import load_labels, load_log
from keras_peterrec.log.user_splits import split_users
from keras_peterrec.log.vocabulary import UNK
from keras_peterrec.patches.affine import NormTuning
from keras_peterrec.patches.lora import Lora
from keras_peterrec.patches.stack import Stack
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.training.fit import fit
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task


def test_recommendation_run(host_folder, task_folder):
    result = json.loads((task_folder / "metrics.json").read_text())
    assert result["baseline"]["name"] == "popularity"
    test = result["metrics"]["test"]
    assert {"hr@5", "ndcg@20", "sampled_hr@5", "sampled_mrr@5", "sampled_ndcg@5"} <= test.keys()
    assert test.keys() == result["baseline"]["test"].keys()
    split = result["data"]["users_train_validation_test"]
    assert split[0] > split[2] > split[1] > 0
    assert result["parameters"]["share"] < 1
    task = Task.load(task_folder, Host.load(host_folder))
    items, scores = task.recommend(np.array([[0, 5, 6]]), k=4)
    assert items.shape == scores.shape == (1, 4)
    assert set(items[0]) <= set(load_log("simulated/target").item_ids)


LABEL_METRICS = {
    "gender": ("majority", {"accuracy", "macro_f1", "log_loss", "auc"}),
    "topics": (
        "prior",
        {"log_loss", "macro_auc", "micro_auc", "map", "precision@1", "precision@3"},
    ),
    "spend": ("mean", {"rmse", "mae", "r2"}),
}


@pytest.mark.parametrize("task", [GENDER, TOPICS, SPEND], ids=LABEL_METRICS)
def test_runs_of_labels(task, host_folder, label_folders):
    column = task["column"]
    out = label_folders[column]
    result = json.loads((out / "metrics.json").read_text())
    baseline, metrics = LABEL_METRICS[column]
    assert result["baseline"]["name"] == baseline
    first, *more, linear = result["baselines"]
    assert [found["name"] for found in more] == ["uniform"] * (column == "gender")
    assert first == result["baseline"]
    assert linear["name"] == ("ridge" if column == "spend" else "logistic regression")
    assert result["linear"].pop("weight") >= 0
    assert result["linear"] == {key: linear[key] for key in ("power", "penalty", "scale")}
    for found in (*result["metrics"].values(), first["test"], linear["test"]):
        assert found.keys() == metrics and np.isfinite(list(found.values())).all()
    assert result["kind"] == result["settings"]["kind"] == task["kind"]
    # What was written says the same: measured anew, and in the bundle.
    again = evaluate(out)["metrics"]["test"]
    assert again == pytest.approx(result["metrics"]["test"], abs=1e-5)
    loaded = Task.load(out, Host.load(host_folder))
    history = np.array([[0, 5, 6], [0, 0, 0]])
    if column == "spend":
        assert loaded.kind.mean == result["data"]["mean"]
        values = loaded.values(history)
        assert values.shape == (2,) and abs(values - loaded.kind.mean).max() < 50
    else:
        probabilities = loaded.probabilities(history)
        assert probabilities.shape == (2, len(loaded.labels))
        assert ((probabilities > 0) & (probabilities < 1)).all()
        if column == "gender":
            assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", [TARGET, GENDER], ids=["recommendation", "classification"])
def test_the_linear_part_stands_beside_the_same_network(task, host_folder, tmp_path):
    before = (host_folder / "weights.npz").read_bytes()
    settings = {**task, "method": "head"}
    both, alone = (
        transfer(host_folder, "simulated/source", tmp_path / name, **settings, **more)
        for name, more in (("both", {}), ("alone", {"linear": False}))
    )
    assert (host_folder / "weights.npz").read_bytes() == before
    host = Host.load(host_folder)
    tasks = {name: Task.load(tmp_path / name, host) for name in ("both", "alone")}
    assert tasks["alone"].model.linear is None
    assert both["linear"]["weight"] > 0 and "linear" not in alone
    assert both["baselines"] == alone["baselines"]
    metric = both["decides"]["name"]
    linear_alone = both["baselines"][-1]["test"][metric]
    assert both["parts"]["linear part alone"][metric] == pytest.approx(linear_alone)
    if task is TARGET:  # the network is scaled elsewhere
        network = alone["metrics"]["test"][metric]
        assert both["parts"]["network alone"][metric] == pytest.approx(network, abs=1e-6)
    # Nothing that was trained is different; a head of classes may be calibrated otherwise.
    saved = {name: np.load(tmp_path / name / "weights.npz") for name in tasks}
    own = set(saved["both"].files) - set(saved["alone"].files)
    assert own == {"linear/table", "linear/bias"}
    same = [path for path in saved["alone"].files if task is TARGET or "head" not in path]
    for path in same:
        np.testing.assert_array_equal(saved["both"][path], saved["alone"][path])
    assert both["parameters"]["linear"] == sum(saved["both"][path].size for path in own)
    assert both["parameters"]["trainable"] == alone["parameters"]["trainable"]
    # It is better for it: histories of the simulated users are bags, mostly.
    metric = tasks["both"].kind.metric
    for part in ("validation", "test"):
        found, network = (run["metrics"][part][metric.name] for run in (both, alone))
        assert metric.is_better(found, network)
    # Measured anew, and asked for its answers, it says the same.
    again = evaluate(tmp_path / "both")["metrics"]["test"]
    assert again == pytest.approx(both["metrics"]["test"], abs=1e-5)
    assert evaluate(tmp_path / "alone")["metrics"]["test"] == pytest.approx(
        alone["metrics"]["test"], abs=1e-5
    )


@pytest.mark.slow
def test_a_regression_with_hubers_loss_is_another_run(host_folder, tmp_path):
    common = {**SPEND, "method": "head", "train_fraction": 0.2}
    one, two = (
        transfer(host_folder, "simulated/source", tmp_path / loss, loss=loss, **common)
        for loss in ("squared", "huber")
    )
    assert one["settings"]["loss"] == "squared" and two["settings"]["loss"] == "huber"
    # Both may end where they start, at the mean: what they did on the way differs.
    squared, huber = (
        (tmp_path / loss / "history.csv").read_text() for loss in ("squared", "huber")
    )
    assert squared != huber
    assert one["baseline"] == two["baseline"]


@pytest.mark.slow
def test_patches_by_their_short_name(host_folder, tmp_path):
    quick = {**GENDER, "linear": False, "baselines": False, "train_fraction": 0.1}
    result = transfer(
        host_folder, "simulated/source", tmp_path / "gender", patch="lora:2+norm", **quick
    )
    assert result["settings"]["patch"] == "lora:2+norm"
    task = Task.load(tmp_path / "gender", Host.load(host_folder))
    assert task.model.patch == Stack([Lora(2), NormTuning()])
    assert "linear" not in result and result["baselines"] == [result["baseline"]]  # as asked
    again = transfer(
        host_folder,
        "simulated/source",
        tmp_path / "gender",
        patch=Stack([Lora(2), NormTuning()]),
        **quick,
    )
    assert again == result  # the same run, already finished
    assert evaluate(tmp_path / "gender")["metrics"]["test"] == pytest.approx(
        result["metrics"]["test"], abs=1e-6
    )


@pytest.mark.parametrize(
    "settings, part",
    [
        ({"patch": "lorra"}, "`patch` should be one of bottleneck, "),
        ({"patch": "compacter:6"}, "`factor` should divide the host's"),
    ],
)
def test_a_patch_that_cannot_be_is_refused_before_anything_is_written(
    settings, part, host_folder, tmp_path
):
    with pytest.raises(InputError, match=part):
        transfer(host_folder, "simulated/source", tmp_path / "gender", **settings, **GENDER)
    assert not (tmp_path / "gender").exists()


@pytest.mark.slow
def test_host_on_disk_is_not_touched_by_any_method(host_folder, tmp_path):
    """As the default tests of methods see of "patch", "all" and "head"."""
    before = (host_folder / "weights.npz").read_bytes()
    log = load_log("simulated/source")
    some = log.select(log.users < 100)
    for method in ("last1", "last2", "scratch", "random_host"):
        transfer(
            host_folder,
            some,
            tmp_path / method,
            method=method,
            train_fraction=0.5,
            linear=False,
            baselines=False,
            **GENDER,
        )
    assert (host_folder / "weights.npz").read_bytes() == before


def test_a_host_by_another_path_is_the_same_run(task_folder, host_folder):
    written = json.loads((task_folder / "metrics.json").read_text())
    respelled = host_folder / ".." / host_folder.name
    assert transfer(respelled, "simulated/source", task_folder, **TARGET) == written


@pytest.mark.parametrize("method", ["head", pytest.param("patch", marks=pytest.mark.slow)])
def test_no_answer_of_a_held_out_user_is_trained_on(method, host_folder, tmp_path):
    """Changing the answers of the test users changes nothing that was learnt."""
    target = load_log("simulated/target")
    of_test = split_users(target.user_ids)[target.users] == TEST
    items = target.items.copy()
    items[of_test] = np.roll(items[of_test], 7)
    changed = Events.from_columns(
        target.user_ids[target.users], target.item_ids[items], target.timestamps, target.name
    )
    for name, log in (("one", target), ("two", changed)):
        settings = {"target": log, "epochs": 1, "method": method, "baselines": False}
        transfer(host_folder, "simulated/source", tmp_path / name, **settings)
    one, two = (np.load(tmp_path / name / "weights.npz") for name in ("one", "two"))
    targets = [(tmp_path / name / "targets.txt").read_text() for name in ("one", "two")]
    assert targets[0] == targets[1]
    for path in one.files:
        np.testing.assert_array_equal(one[path], two[path])


@pytest.mark.parametrize("task", [TARGET, *slow(GENDER)], ids=["recommendation", "classification"])
def test_head_runs_the_host_once_and_is_an_ordinary_task(host_folder, tmp_path, task, monkeypatch):
    fitted, states = [], []

    def seen(title, model, *arguments, **more):
        fitted.append((model, fit(title, model, *arguments, **more)))
        return fitted[-1][1]

    states_of = TaskData.states

    def counted(data, model, part):
        states.append(part)
        return states_of(data, model, part)

    monkeypatch.setattr("keras_peterrec.runs.task_training.fit", seen)
    monkeypatch.setattr(TaskData, "states", counted)
    settings = {**task, "epochs": 3, "method": "head", "linear": False, "baselines": False}
    result = transfer(host_folder, "simulated/source", tmp_path / "task", **settings)
    # Twice to train three epochs with validation, once to weigh; twice for the finished task.
    assert states == [TRAIN, VALIDATION, VALIDATION, VALIDATION, TEST]
    [(model, training)] = fitted
    trained = sum(weight.size for weight in map(np.asarray, model.trainable_variables))
    assert trained == result["parameters"]["trainable"] < result["parameters"]["head"]
    held = sum(np.asarray(variable).size for variable in model.optimizer.variables)
    assert held == 2 + 2 * trained  # the rate, the step, and two moments of each weight
    host = Host.load(host_folder)
    saved = np.load(tmp_path / "task" / "weights.npz")
    token = np.asarray(host.backbone.item_embedding.embeddings)[UNK]
    np.testing.assert_array_equal(saved["task_token/token"], token)
    # What early stopping saw over cached states is what the whole model gives.
    saw, found = training.state["best"], result["metrics"]["validation"]
    if task is TARGET:
        assert saw == pytest.approx(found["ndcg@10"], abs=1e-5)
    else:  # calibrated since
        assert saw - 0.1 < found["log_loss"] < saw + 1e-5
    assert evaluate(tmp_path / "task")["metrics"]["test"] == pytest.approx(
        result["metrics"]["test"], abs=1e-5
    )


@pytest.mark.slow
def test_padding_beyond_the_longest_history_is_not_trained_on(tmp_path, monkeypatch):
    """The same run with the width that all batches had before, of mere padding."""
    small = {"hidden_dim": 8, "blocks": 1, "epochs": 1, "dropout": 0.0}
    longest = int(np.bincount(load_log("simulated/source").users).max())
    small["objective"] = "masked"  # a causal host reads packed histories
    pretrain("simulated/source", tmp_path / "host", max_length=longest + 30, **small)
    widths = []

    def seen(*arguments, **more):
        widths.append(arguments[4])
        return task_batches(*arguments, **more)

    def padded(*arguments, **more):
        return task_batches(*arguments[:4], longest + 30, *arguments[5:], **more)

    for name, batches in (("narrow", seen), ("wide", padded)):
        monkeypatch.setattr("keras_peterrec.runs.task_parts.task_batches", batches)
        transfer(tmp_path / "host", "simulated/source", tmp_path / name, **GENDER)
    assert widths[0] <= longest
    narrow, wide = (np.load(tmp_path / name / "weights.npz") for name in ("narrow", "wide"))
    for path in narrow.files:
        np.testing.assert_allclose(narrow[path], wide[path], atol=2e-4, err_msg=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({**TARGET, "patch": "bottleneck:0"}, "`width` should be a positive integer"),
        ({**TARGET, "patch": "bottleneck:insertion=sideways"}, "`insertion` should be one of"),
        ({**TARGET, "method": "magic"}, "`method` should be one of patch"),
        ({**TARGET, "train_fraction": 0.0}, "`train_fraction` should be above 0"),
        ({**TARGET, **GENDER}, "Either `target` or `labels` should be given"),
        ({}, "Either `target` or `labels` should be given"),
        (
            {**GENDER, "loss": "bpr"},
            "`loss` should be left out for a classification task. Received",
        ),
        ({**GENDER, "cut_history": False}, "`cut_history` should be left out without `target`"),
        ({**TARGET, "column": "age"}, "`column` should be left out without `labels`. Received"),
        ({**GENDER, "method": "head", "patch": "lora:8"}, "`patch` should be left out unless"),
        ({"labels": "simulated/users"}, "`column` should name a column"),
        ({**SPEND, "loss": "bpr"}, "`loss` should be one of squared, huber for a regression task"),
        ({**SPEND, "kind": None}, "`kind` should be given for the column 'spend', as --kind regr"),
        ({**GENDER, "kind": "regression"}, "`gender` should be numbers for the kind regression"),
        ({**GENDER, "kind": "recommendation"}, "`kind` should be one that reads `labels`"),
        ({**TARGET, "kind": "multilabel"}, "`kind` should be one that reads `target`"),
        ({**GENDER, "kind": "classify"}, "`kind` should be one of recommendation, classificat"),
    ],
)
def test_bad_settings_are_one_clear_line(host_folder, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        transfer(host_folder, "simulated/source", tmp_path / "task", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "task").exists()


def test_users_without_history_are_refused(host_folder, tmp_path):
    strangers = Labels.from_columns(["nobody", "noone"], ["x", "y"], "kind")
    with pytest.raises(InputError, match="`labels` should share users with `log`"):
        transfer(host_folder, "simulated/source", tmp_path / "task", labels=strangers)
    strange_log = Events.from_columns(["nobody", "noone"], ["x", "y"], [1, 2])
    with pytest.raises(InputError, match="`target` should share users with `log`"):
        transfer(host_folder, "simulated/source", tmp_path / "task", target=strange_log)


def test_data_given_as_objects_can_be_evaluated_again(host_folder, tmp_path):
    labels, log = load_labels("simulated/users", "gender"), load_log("simulated/source")
    small = {"method": "head", "train_fraction": 0.1, "epochs": 1, "baselines": False}
    result = transfer(host_folder, log, tmp_path / "task", labels=labels, **small)
    assert result["settings"]["labels"] == "gender"
    expected = pytest.approx(result["metrics"]["test"], abs=1e-5)
    for given in ({"labels": labels}, {"labels": "simulated/users", "column": "gender"}):
        assert evaluate(tmp_path / "task", log=log, **given)["metrics"]["test"] == expected
    with pytest.raises(InputError, match="`column` should name a column of `labels`"):
        evaluate(tmp_path / "task", log=log)


@pytest.mark.parametrize("method", ["patch", "all"])
def test_nothing_is_trained_for_times_that_tasks_do_not_read(
    method, host_folder, tmp_path, recwarn
):
    settings = {"method": method, "epochs": 1, "least_gain": 0.0, "baselines": False, **TARGET}
    transfer(host_folder, "simulated/source", tmp_path / "task", **settings)
    assert Host.load(host_folder).fields.names == ["time"]
    assert not [each for each in recwarn if "Gradients do not exist" in str(each.message)]
