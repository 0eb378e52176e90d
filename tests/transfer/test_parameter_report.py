"""What a task costs, and the shares the paper prints."""

import pytest

from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.transfer.parameter_report import parameter_report
from keras_peterrec.transfer.strategies import build_task

CHANNELS = 256


@pytest.fixture(scope="module")
def paper_backbone():
    """The paper's network but for its item table, of ten rows."""
    return Backbone(10, CHANNELS, dilations=(1, 4) * 4)


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
    task = build_task(paper_backbone, ClassifierHead(2), patch=Bottleneck(32))
    share = shares_at(parameter_report(task), 10, 645_729)
    assert 100 * share == pytest.approx(0.159, abs=0.0006)


def test_a_patch_is_a_twelfth_of_a_convolution(paper_backbone):
    report = parameter_report(build_task(paper_backbone, ClassifierHead(2), patch=Bottleneck(32)))
    assert report["patches"] / 16 == 2 * CHANNELS * 32 + 32 + CHANNELS
    convolution = paper_backbone.blocks[0].convolutions[0].count_params()
    assert report["patches"] / 16 / convolution == pytest.approx(0.085, abs=0.0005)


def test_the_parts_add_up(host):
    for method in ("patch", "all", "head"):
        task = build_task(host.backbone, ClassifierHead(2), method, Bottleneck(3))
        report = parameter_report(task)
        assert report["total"] == report["host"] + report["patches"] + report["head"]
        assert report["total"] == task.count_params()
        assert report["host"] == host.backbone.count_params()
        assert report["head"] == (8 * 2 + 2) + 8
        assert report["patches"] == (4 * (8 * 3 + 3 + 3 * 8 + 8) if method == "patch" else 0)
        share = {
            "patch": (report["patches"] + report["head"]) / (report["host"] + report["head"]),
            "all": 1.0,
            "head": (report["head"] - 8) / (report["host"] + report["head"]),
        }[method]
        assert report["share"] == pytest.approx(share)
