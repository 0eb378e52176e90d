"""What a task costs, and the shares the paper prints."""

import numpy as np
import pytest

from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.registry import patch_methods
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.tasks.heads import LinearHead, RecommenderHead
from keras_peterrec.transfer.parameters import parameter_report, patch_table
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task_model import TaskModel

CHANNELS = 256
DILATIONS = (1, 4)  # of two blocks


@pytest.fixture(scope="module")
def paper_backbone():
    """The paper's network but for its item table, of ten rows."""
    return ConvolutionNetwork(10, CHANNELS, dilations=(1, 4) * 4)


def shares_at(report, rows, source_items, target_rows=None, targets=None):
    """The report's share had the two tables so many rows; no token in the paper."""
    more_host = (source_items - rows) * CHANNELS
    more_head = 0 if targets is None else (targets - target_rows) * CHANNELS
    trainable = report["trainable"] + more_head
    return trainable / (report["host"] + more_host + report["head"] + more_head)


@pytest.mark.parametrize(
    "source_items, targets, percent", [(191_014, 20_342, 9.56), (645_980, 17_879, 2.80)]
)
def test_recommendation_at_the_papers_scale(paper_backbone, source_items, targets, percent):
    task = build_task(paper_backbone, RecommenderHead(3), patch=Bottleneck(32))
    share = shares_at(parameter_report(task), 10, source_items, 3, targets)
    assert 100 * share == pytest.approx(percent, abs=0.006)


def test_classification_at_the_papers_scale(paper_backbone):
    task = build_task(paper_backbone, LinearHead(2), patch=Bottleneck(32))
    share = shares_at(parameter_report(task), 10, 645_729)
    assert 100 * share == pytest.approx(0.159, abs=0.0006)


def test_a_patch_is_a_twelfth_of_a_convolution(paper_backbone):
    report = parameter_report(build_task(paper_backbone, LinearHead(2), patch=Bottleneck(32)))
    assert report["patches"] / 16 == 2 * CHANNELS * 32 + 32 + CHANNELS
    convolution = paper_backbone.blocks[0].convolutions[0].count_params()
    assert report["patches"] / 16 / convolution == pytest.approx(0.085, abs=0.0005)


def test_the_parts_add_up(host):
    for method in ("patch", "all", "head"):
        task = build_task(host.backbone, LinearHead(2), method, Bottleneck(3))
        report = parameter_report(task)
        assert report["total"] == report["host"] + report["patches"] + report["head"]
        assert report["total"] == task.count_params()
        assert report["host"] == host.backbone.count_params()
        assert report["head"] == (8 * 2 + 2) + 8
        assert report["item_patches"] == 0
        assert report["patches"] == (4 * (8 * 3 + 3 + 3 * 8 + 8) if method == "patch" else 0)
        share = {
            "patch": (report["patches"] + report["head"]) / (report["host"] + report["head"]),
            "all": 1.0,
            "head": (report["head"] - 8) / (report["host"] + report["head"]),
        }[method]
        assert report["share"] == pytest.approx(share)


@pytest.mark.parametrize("rows, counted", [(9, 9), (99, 16)])  # of a host with 16 rows
def test_patches_of_items_are_counted_apart(host, rows, counted):
    report = parameter_report(
        TaskModel(host.backbone, LinearHead(2), f"norm+item_lora:3,rows={rows}")
    )
    assert report["item_patches"] == 3 * (counted + 8)
    assert report["patches"] == report["item_patches"] + 2 * 4 * 8


@pytest.fixture(scope="module")
def backbone():
    return ConvolutionNetwork(30, hidden_dim=16, dilations=(1, 4))


def test_a_patch_table_counts_what_a_task_trains_beside_its_head(backbone):
    rows = patch_table(backbone)
    assert len(rows) == len(patch_methods())
    convolutions = 4 * (3 * 16 * 16 + 16)
    for row in rows:
        model = TaskModel(backbone, LinearHead(2), row["patch"])
        report = parameter_report(model)
        assert row["parameters"] == report["patches"] + np.prod(model.task_token.token.shape)
        assert row["share"] == pytest.approx(row["parameters"] / convolutions)


def test_a_patch_table_says_what_merges(backbone):
    merges = {row["patch"].split(":")[0]: row["merges"] for row in patch_table(backbone)}
    assert merges == {
        "bottleneck": False,
        "compacter": False,
        "lora": True,
        "item_lora": True,
        "item_bottleneck": False,
        "ia3": True,
        "scale_shift": True,
        "bias": True,
        "norm": True,
    }


def test_a_patch_table_of_chosen_ones(backbone):
    rows = patch_table(backbone, map(get_patch, ("lora:2+norm", "compacter:6")))
    assert rows[0]["parameters"] == 2 * (2 * (3 * 16 * 2 + 2 * 16) + 4 * 16) + 16
    assert rows[1] == {"patch": "compacter:6", "parameters": None, "share": None, "merges": None}
