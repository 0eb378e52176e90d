"""The main job on the simulated source, with floors that only a working method passes."""

import pytest

from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer

SHOP = {"target": "simulated/target"}
GENDER = {"labels": "simulated/users", "column": "gender"}


@pytest.mark.parametrize("objective", ["causal", pytest.param("masked", marks=pytest.mark.slow)])
def test_patch_beats_random_host_and_baseline(objective, tmp_path):
    pretrained = pretrain(
        "simulated/source", tmp_path / "host", objective=objective, hidden_dim=32, blocks=4,
        max_length=50, epochs=25, learning_rate=3e-3,
    )  # fmt: skip
    assert pretrained["metrics"]["test"]["ndcg@10"] > (
        1.5 * pretrained["baseline"]["test"]["ndcg@10"]
    )
    results = {}
    for task, where in (("shop", SHOP), ("gender", GENDER)):
        for method in ("patch", "random_host"):
            results[task, method] = transfer(
                tmp_path / "host", "simulated/source", tmp_path / f"{task}-{method}",
                method=method, epochs=12, learning_rate=3e-3, **where,
            )  # fmt: skip
    shop, random_shop = results["shop", "patch"], results["shop", "random_host"]
    floor = max(
        shop["baseline"]["test"]["ndcg@10"], random_shop["metrics"]["test"]["ndcg@10"]
    )
    assert shop["metrics"]["test"]["ndcg@10"] > 1.25 * floor
    # A random host sees what was clicked as well, in the summary; what a pretrained one adds
    # is less of it. Log-loss tells that better than the accuracy of some 150 users.
    gender, random_gender = results["gender", "patch"], results["gender", "random_host"]
    measured = gender["metrics"]["test"]
    assert measured["log_loss"] < 0.85 * random_gender["metrics"]["test"]["log_loss"]
    assert measured["accuracy"] > gender["baseline"]["test"]["accuracy"] + 0.2
    # The task trains a few parameters of what all of the network would be.
    assert shop["parameters"]["patches"] < 0.1 * shop["parameters"]["host"]
