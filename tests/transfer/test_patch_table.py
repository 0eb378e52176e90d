"""What each patch method costs on a host."""

import numpy as np
import pytest

from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.patches.registry import patch_methods
from keras_peterrec.transfer.parameter_report import parameter_report
from keras_peterrec.transfer.patch_table import patch_table
from keras_peterrec.transfer.task_model import TaskModel


@pytest.fixture(scope="module")
def backbone():
    return Backbone(30, hidden_dim=16, dilations=(1, 4))


def test_counts_what_a_task_trains_beside_its_head(backbone):
    rows = patch_table(backbone)
    assert len(rows) == len(patch_methods())
    convolutions = 4 * (3 * 16 * 16 + 16)
    for row in rows:
        model = TaskModel(backbone, ClassifierHead(2), row["patch"])
        report = parameter_report(model)
        assert row["parameters"] == report["patches"] + np.prod(model.task_token.token.shape)
        assert row["share"] == pytest.approx(row["parameters"] / convolutions)


def test_says_what_merges(backbone):
    merges = {row["patch"].split(":")[0]: row["merges"] for row in patch_table(backbone)}
    assert merges == {
        "bottleneck": False,
        "compacter": False,
        "lora": True,
        "ia3": True,
        "scale_shift": True,
        "bias": True,
        "norm": True,
        "tokens": False,
    }


def test_of_chosen_ones(backbone):
    rows = patch_table(backbone, ["lora:2+norm", "compacter:6"])
    assert rows[0]["parameters"] == 2 * (2 * (3 * 16 * 2 + 2 * 16) + 4 * 16) + 16
    assert rows[1] == {"patch": "compacter:6", "parameters": None, "share": None, "merges": None}
