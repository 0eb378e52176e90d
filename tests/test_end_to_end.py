"""The main job on the simulated source, with floors that only a working method passes."""

import pytest

from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer

pytestmark = pytest.mark.usefixtures("whole_simulated")

SHOP = {"target": "simulated/target"}
GENDER = {"labels": "simulated/users", "column": "gender"}
TOPICS = {"labels": "simulated/users", "column": "topics"}
SPEND = {"labels": "simulated/users", "column": "spend", "kind": "regression"}


def test_a_patch_learns_from_a_pretrained_host_what_it_cannot_from_a_random_one(tmp_path):
    """As below, in a tenth of the time."""
    pretrained = pretrain(
        "simulated/source",
        tmp_path / "host",
        hidden_dim=32,
        blocks=1,
        max_length=20,
        epochs=6,
        learning_rate=5e-3,
        times=False,
        linear=False,
        baselines=False,
    )
    assert pretrained["metrics"]["test"]["ndcg@10"] > (
        1.5 * pretrained["baseline"]["test"]["ndcg@10"]
    )
    patch, random_host = (
        transfer(
            tmp_path / "host",
            "simulated/source",
            tmp_path / method,
            patch="bottleneck",
            method=method,
            epochs=6,
            learning_rate=3e-3,
            linear=False,
            baselines=False,
            **GENDER,
        )
        for method in ("patch", "random_host")
    )
    measured, majority = patch["metrics"]["test"], patch["baseline"]["test"]
    floor = min(majority["log_loss"], random_host["metrics"]["test"]["log_loss"])
    assert measured["log_loss"] < 0.92 * floor
    assert measured["accuracy"] > majority["accuracy"] + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_patch_beats_random_host_and_baseline(objective, tmp_path):
    pretrained = pretrain(
        "simulated/source",
        tmp_path / "host",
        objective=objective,
        hidden_dim=32,
        blocks=4,
        max_length=50,
        epochs=25,
        learning_rate=3e-3,
    )
    assert pretrained["metrics"]["test"]["ndcg@10"] > (
        1.5 * pretrained["baseline"]["test"]["ndcg@10"]
    )
    results = {}
    for task, where, arguments in (
        # What the networks know; the linear part would help both.
        ("shop", SHOP, {"method": "patch", "linear": False}),
        ("shop-random", SHOP, {"method": "random_host", "linear": False}),
        ("gender", GENDER, {}),
        ("topics", TOPICS, {"method": "head"}),
        ("spend", SPEND, {"method": "head"}),
    ):
        results[task] = transfer(
            tmp_path / "host",
            "simulated/source",
            tmp_path / task,
            epochs=12,
            learning_rate=3e-3,
            **where,
            **arguments,
        )
    shop, random_shop = results["shop"], results["shop-random"]
    floor = max(shop["baseline"]["test"]["ndcg@10"], random_shop["metrics"]["test"]["ndcg@10"])
    assert shop["metrics"]["test"]["ndcg@10"] > 1.25 * floor
    gender = results["gender"]
    measured, majority = gender["metrics"]["test"], gender["baseline"]["test"]
    assert measured["log_loss"] < 0.75 * majority["log_loss"]
    assert measured["accuracy"] > majority["accuracy"] + 0.2
    topics, spend = results["topics"], results["spend"]
    assert topics["metrics"]["test"]["log_loss"] < 0.85 * topics["baseline"]["test"]["log_loss"]
    assert topics["metrics"]["test"]["macro_auc"] > 0.75
    assert spend["metrics"]["test"]["rmse"] < 0.85 * spend["baseline"]["test"]["rmse"]
    # The task trains a few parameters of what all of the network would be.
    # The paper's patches; those of the items grow with the catalogue alone. On attention, whose
    # projection has four times the channels, they are a little larger than on the convolution.
    counts = shop["parameters"]
    assert counts["patches"] - counts["item_patches"] < 0.12 * counts["host"]
