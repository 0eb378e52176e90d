"""A network trained on everything at once, as a run."""

import json

import keras
import numpy as np
import pytest
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.files.history_file import read_history
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.runs.multi_task import multi_task
from keras_peterrec.tasks.heads import LinearHead, RecommenderHead
from keras_peterrec.tasks.target_loss import TargetLoss
from keras_peterrec.transfer.multi_task_model import NEXT_ITEM, MultiTaskModel
from keras_peterrec.transfer.task_model import TaskModel

SMALL = {"hidden_dim": 8, "blocks": 1, "max_length": 16, "epochs": 3}
TASKS = {
    "shop": {"log": "simulated/source", "target": "simulated/target"},
    "gender": {"log": "simulated/source", "labels": "simulated/users", "column": "gender"},
    "topics": {"log": "simulated/source", "labels": "simulated/users", "column": "topics"},
    "spend": {
        "log": "simulated/source",
        "labels": "simulated/users",
        "column": "spend",
        "kind": "regression",
    },
}
# What decides, and which way is better.
DECIDES = {
    "shop": ("ndcg@10", 1),
    "gender": ("log_loss", -1),
    "topics": ("log_loss", -1),
    "spend": ("rmse", -1),
}


@pytest.mark.parametrize("names", [["shop", "gender"], *slow([*TASKS])], ids=["two", "all"])
def test_run_improves_and_writes_metrics_of_each_task(names, tmp_path):
    out, tasks = tmp_path / "mtl", {name: TASKS[name] for name in names}
    decides = {name: DECIDES[name] for name in names}
    result = multi_task("simulated/source", tasks, out, **SMALL)
    history = read_history(out)
    assert history["epoch"] == [1, 2, 3]
    assert history["loss"][-1] < history["loss"][0]
    # The best epoch is that of the best geometric mean of the metrics that decide.
    scores = np.mean(
        [s * np.log(history[f"val_{name}/{metric}"]) for name, (metric, s) in decides.items()],
        axis=0,
    )
    np.testing.assert_allclose(history["val_score"], scores, rtol=1e-5)
    assert result["best_epoch"] == np.argmax(scores) + 1
    for name, (metric, sign) in decides.items():
        found = result["tasks"][name]["metrics"]["validation"][metric]
        best = history[f"val_{name}/{metric}"][result["best_epoch"] - 1]
        assert sign * found >= sign * best - 1e-6, name  # calibrated since, on these users
    # What calibration does not change.
    kept = {"shop": "ndcg@10", "gender": "auc", "topics": "macro_auc"}
    for name, metric in ((name, kept[name]) for name in names if name in kept):
        found = json.loads((out / "tasks" / name / "metrics.json").read_text())
        assert found == result["tasks"][name]
        assert np.isfinite(list(found["metrics"]["test"].values())).all()
        best = history[f"val_{name}/{metric}"][result["best_epoch"] - 1]
        assert found["metrics"]["validation"][metric] == pytest.approx(best, abs=1e-6)
    assert multi_task("simulated/source", tasks, out, **SMALL) == result


@pytest.mark.slow
def test_interrupted_run_goes_on_where_it_was(tmp_path, interrupted):
    only = {"gender": TASKS["gender"]}
    with interrupted(epoch=1):
        multi_task("simulated/source", only, tmp_path / "mtl", **SMALL)
    before = read_history(tmp_path / "mtl")
    multi_task("simulated/source", only, tmp_path / "mtl", **SMALL)
    after = read_history(tmp_path / "mtl")
    assert after["epoch"] == [1, 2, 3]
    assert after["loss"][:2] == before["loss"]


def test_loss_is_the_sum_and_reaches_every_weight():
    keras.utils.set_random_seed(0)
    pretrainer = CausalPretrainer(ConvolutionNetwork(12, 8, (1,)), tied=False)
    heads = {"shop": RecommenderHead(5), "kind": LinearHead(3)}
    tasks = {n: TaskModel(pretrainer.backbone, head, name=f"{n}_task") for n, head in heads.items()}
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = {"shop": TargetLoss(), "kind": classes}
    model = MultiTaskModel(pretrainer, tasks, losses)
    random = np.random.default_rng(0)
    x = {
        NEXT_ITEM: random.integers(4, 12, (2, 6)),
        "shop": random.integers(4, 12, (3, 5)),
        "kind": random.integers(4, 12, (4, 4)),
    }
    y = {
        NEXT_ITEM: random.integers(4, 12, (2, 6)),
        "shop": random.integers(0, 5, (3, 1)),
        "kind": random.integers(0, 3, 4),
    }
    # Inputs of a step may be of different sizes.
    outputs = model(x)
    parts = [
        pretrainer.compute_loss(None, y[NEXT_ITEM], outputs[NEXT_ITEM]),
        losses["shop"](y["shop"], outputs["shop"]),
        losses["kind"](y["kind"], outputs["kind"]),
    ]
    total = model.compute_loss(x, y, outputs)
    assert float(total) == pytest.approx(sum(map(float, parts)), rel=1e-5)
    for name, task in tasks.items():
        np.testing.assert_allclose(outputs[name], task(x[name]), atol=1e-6)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    before = [np.array(weight) for weight in model.trainable_weights]
    model.train_on_batch(x, y)
    changed = [np.any(np.array(w) != b) for w, b in zip(model.trainable_weights, before)]
    assert all(changed)
    # The host, both heads and the output table are all trained.
    own = pretrainer.trainable_weights + tasks["shop"].head.weights + tasks["kind"].head.weights
    assert {id(weight) for weight in own} <= {id(w) for w in model.trainable_weights}


def test_another_backbone_is_refused():
    pretrainer = CausalPretrainer(ConvolutionNetwork(12, 8, (1,)))
    stranger = TaskModel(ConvolutionNetwork(12, 8, (1,)), LinearHead(3), name="kind")
    with pytest.raises(ValueError, match="`tasks` should be built on the backbone"):
        MultiTaskModel(pretrainer, {"kind": stranger}, {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": {}}, "`tasks` should hold at least one task"),
        ({"tasks": {"g": {**TASKS["gender"], "cut_history": False}}}, "`cut_history` should be"),
        ({"tasks": {"g": {"target": "simulated/target"}}}, "`tasks` should hold .*Received: no"),
        ({"tasks": {"g": {**TASKS["gender"], "epochs": 2}}}, "`tasks` should hold .*'epochs'"),
        ({"epochs": 0}, "`epochs` should be a positive integer"),
        ({"head_dropout": 1.0}, "`head_dropout` should be a rate"),
    ],
)
def test_bad_settings_are_one_clear_line(arguments, message, tmp_path):
    arguments = {"tasks": TASKS, **SMALL, **arguments}
    with pytest.raises(InputError, match=message) as caught:
        multi_task("simulated/source", out=tmp_path / "mtl", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mtl").exists()
