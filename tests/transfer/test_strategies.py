"""Which weights each method trains, to the last one."""

import numpy as np
import pytest
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.vocabulary import MASK, UNK
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.item_patches import ItemLora
from keras_peterrec.patches.stack import Stack
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.parameters import parameter_report
from keras_peterrec.transfer.strategies import METHODS, build_task, starts_as_head
from keras_peterrec.transfer.task_model import TaskModel

DILATIONS = (1, 4)  # of two blocks
# 16 ids, 8 channels, two blocks, patches of width 3 at two sites, two classes.
TABLE = 16 * 8
CONVOLUTION_AND_NORM = (3 * 8 * 8 + 8) + 2 * 8
HOST = TABLE + 4 * CONVOLUTION_AND_NORM + 2 * 8  # with the norm at the end
PATCHES = 4 * (8 * 3 + 3 + 3 * 8 + 8)
HEAD = (8 * 2 + 2) + 8  # with the task token

TRAINED = {
    "patch": PATCHES + HEAD,
    "all": HOST + HEAD,
    "head": HEAD - 8,
    "last1": CONVOLUTION_AND_NORM + HEAD,
    "last2": 2 * CONVOLUTION_AND_NORM + HEAD,
    "scratch": HOST + HEAD,
    "random_host": PATCHES + HEAD,
}


def trainable_host_paths(task):
    trained = {id(weight) for weight in task.trainable_weights}
    return {path for path, w in task.host.named_weights().items() if id(w) in trained}


def build(host, method, **arguments):
    return build_task(host.backbone, LinearHead(2), method, Bottleneck(3), **arguments)


def test_the_methods_of_the_paper():
    assert METHODS == {
        "patch": "PeterRec",
        "all": "FineAll",
        "head": "FineCLS",
        "last1": "FineLast1",
        "last2": "FineLast2",
        "scratch": "FineZero",
        "random_host": "PeterZero",
    }


@pytest.mark.parametrize("method", METHODS)
def test_trains_exactly_as_many(host, method):
    """Whatever was built before on the host, which all these tests share."""
    task = build(host, method)
    assert parameter_report(task)["trainable"] == TRAINED[method]
    assert task.count_params() == HOST + HEAD + (
        PATCHES if method in ("patch", "random_host") else 0
    )
    for path, weight in task.task_weights().items():
        frozen = method == "head" and path == "task_token/token"
        assert any(weight is trained for trained in task.trainable_weights) != frozen, path


def test_trains_exactly_these_parts_of_the_host(host):
    everything = set(host.backbone.named_weights())
    last = {
        f"block_2/{layer}/{weight}"
        for layer, weights in {
            "convolution_2": ("kernel", "bias"),
            "norm_2": ("gamma", "beta"),
        }.items()
        for weight in weights
    }
    expected = {
        "patch": set(),
        "head": set(),
        "random_host": set(),
        "all": everything,
        "scratch": everything,
        "last1": last,
        "last2": last | {path.replace("_2/", "_1/").replace("block_1", "block_2") for path in last},
    }
    for method, paths in expected.items():
        assert trainable_host_paths(build(host, method)) == paths, method


@pytest.mark.parametrize("method", METHODS)
def test_which_host_a_method_stands_on(host, method):
    task = build(host, method)
    shared = method in ("patch", "head")
    assert (task.host is host.backbone) == shared
    assert task.host.get_config() == host.backbone.get_config()
    same = [
        np.array_equal(mine, theirs)
        for mine, theirs in zip(task.host.get_weights(), host.backbone.get_weights(), strict=True)
    ]
    if method in ("scratch", "random_host"):
        assert not any(same)
    else:
        assert all(same)


def test_on_a_pretrained_host_the_token_starts_as_its_item_not_known(any_host):
    table = np.asarray(any_host.backbone.item_embedding.embeddings)
    unknown = UNK if any_host.backbone.causal else MASK
    for method in set(METHODS) - {"scratch", "random_host"}:
        np.testing.assert_array_equal(build(any_host, method).task_token.token, table[unknown])
    assert not np.array_equal(build(any_host, "scratch").task_token.token, table[unknown])


def test_last_convolutions_count_from_the_end_across_blocks(host):
    task = TaskModel(host.backbone.copy(), LinearHead(2), train_host=3)
    trained = trainable_host_paths(task)
    assert len(trained) == 3 * 4
    assert {path.rpartition("/")[0] for path in trained} == {
        "block_1/convolution_2",
        "block_1/norm_2",
        "block_2/convolution_1",
        "block_2/norm_1",
        "block_2/convolution_2",
        "block_2/norm_2",
    }


def test_only_patch_methods_take_patches(host):
    for method in METHODS:
        expected = Bottleneck(3) if method in ("patch", "random_host") else None
        assert build(host, method).patch == expected


def test_patch_defaults_to_a_bottleneck_and_a_change_of_the_item_table(host):
    patch = build_task(host.backbone, LinearHead(2)).patch
    assert patch == Stack([Bottleneck(1, "parallel"), ItemLora(8)])


def test_an_unknown_method_is_refused(host):
    with pytest.raises(InputError) as info:
        build(host, "lora")
    assert str(info.value) == (
        "`method` should be one of patch, all, head, last1, last2, scratch, random_host. "
        "Received: `method` = 'lora'."
    )
    assert host.backbone.trainable


@pytest.mark.parametrize("causal", [True, *slow(False)])
def test_which_methods_start_with_the_states_of_a_head(causal):
    host = ConvolutionNetwork(40, 8, (1, 2), causal=causal)
    host(np.ones((1, 4)))
    starts = lambda method, patch=None: starts_as_head(
        build_task(host, LinearHead(2), method, patch), method
    )
    assert all(starts(method) for method in ("patch", "all", "last1", "last2"))
    assert all(starts("patch", patch) for patch in ("lora:2+norm", "ia3", "item_lora:2"))
    # These change the states before they have learned anything.
    assert not starts("patch", "bottleneck:4,parallel,inner_skip")
    assert not any(starts(method) for method in ("scratch", "random_host"))
