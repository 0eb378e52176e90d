"""Tasks merged into the host, averaged, stacked."""

import dataclasses

import numpy as np
import numpy_reference as reference
import pytest
from slow_cases import slow
from task_samples import TARGETS, make_task, scores

from keras_peterrec.errors import InputError
from keras_peterrec.log.preprocessing import known_items
from keras_peterrec.patches import registry
from keras_peterrec.patches.affine import AffinePatch
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.tasks.multilabel import Multilabel
from keras_peterrec.tasks.regression import Regression
from keras_peterrec.transfer.combined_tasks import average_tasks, merge_task, stack_tasks
from keras_peterrec.transfer.parameters import parameter_report, patch_table
from keras_peterrec.transfer.task import Task

AFFINE = (
    "lora:2",
    "ia3",
    "scale_shift",
    "bias",
    "norm",
    "lora:1+scale_shift+norm",
    "lora:2+ia3",
    "item_lora:2",
    "norm+item_lora:2,rows=9+item_lora:1",
)


# In stacks, and one alone: the others are part of these.
SOME = ("bias", "lora:1+scale_shift+norm", "lora:2+ia3", "norm+item_lora:2,rows=9+item_lora:1")


@pytest.mark.parametrize(
    ("causal", "patch"),
    [
        *((True, patch) for patch in SOME),
        (False, SOME[-1]),
        *slow(
            *((True, patch) for patch in AFFINE if patch not in SOME),
            *((False, patch) for patch in AFFINE if patch != SOME[-1]),
        ),
    ],
)
def test_a_merged_task_answers_the_same_without_patches(
    shared_host, causal, patch, histories, bits
):
    any_host = shared_host(causal)
    task = make_task(any_host, patch=patch)
    before = bits(any_host.backbone)
    merged = merge_task(task)
    np.testing.assert_allclose(scores(merged, histories), scores(task, histories), atol=1e-5)
    assert bits(any_host.backbone) == before
    assert not any(merged.model.patches.values())
    assert merged.model.host is not any_host.backbone
    # It is the patches that make the difference.
    bare = make_task(any_host, method="head")
    assert np.abs(scores(merged, histories) - scores(bare, histories)).max() > 0.01


def test_a_merged_task_is_saved_and_loaded(any_host, histories, tmp_path):
    merged = merge_task(make_task(any_host, "recommendation", patch="scale_shift"))
    merged.save(tmp_path / "films", any_host)
    loaded = Task.load(tmp_path / "films", any_host)
    assert scores(loaded, histories).tobytes() == scores(merged, histories).tobytes()
    assert loaded.labels == TARGETS


@pytest.mark.parametrize(
    "patch",
    [
        "bottleneck:2",
        "compacter:4",
        "lora:2+bottleneck:2",
        "item_lora:2+item_bottleneck:2",
    ],
)
def test_what_is_not_affine_is_not_merged(host, patch):
    with pytest.raises(InputError, match="`task` should have affine patches") as info:
        merge_task(make_task(host, patch=patch))
    assert patch in str(info.value)


@dataclasses.dataclass(frozen=True)
class Gain(PatchMethod):
    """Affine, but behind the ReLU, where no layer can take it in."""

    def patches_of(self, sites, index, dtype):
        ends = [name for name, site in sites.items() if site.kind == "branch"]
        return {name: AffinePatch(shift=False, name="gain", dtype=dtype) for name in ends}


def test_a_patch_behind_the_relu_is_not_merged(host, monkeypatch):
    monkeypatch.setitem(registry.METHODS, "gain", Gain)
    with pytest.raises(InputError, match="patches of linear maps, norm.* Received: lora:2.gain"):
        merge_task(make_task(host, patch="lora:2+gain"))
    rows = patch_table(host.backbone, [Gain(), get_patch("lora")])
    assert [row["merges"] for row in rows] == [False, True]


def test_no_patch_is_not_merged(host):
    with pytest.raises(InputError, match="Received: no patch"):
        merge_task(make_task(host, method="head"))


def test_the_average_of_one_task_is_that_task(any_host, histories):
    task = make_task(any_host)
    twin = average_tasks([task])
    assert scores(twin, histories).tobytes() == scores(task, histories).tobytes()
    assert twin.model is not task.model and twin.model.host is any_host.backbone


def test_an_average_has_the_mean_of_all_weights(host):
    tasks = [make_task(host, patch="bottleneck:2+norm", seed=seed) for seed in range(3)]
    shares = [0.5, 0.2, 0.3]
    for weights, expected in ((None, [1 / 3] * 3), (shares, shares)):
        mean = average_tasks(tasks, weights).model.task_weights()
        for path, weight in mean.items():
            wanted = sum(
                share * reference.numbers(task.model.task_weights()[path])
                for share, task in zip(expected, tasks)
            )
            np.testing.assert_allclose(reference.numbers(weight), wanted, atol=1e-6)


def test_tasks_that_differ_are_not_averaged(host, new_host):
    head, task = (make_task(host, method=method) for method in ("head", "patch"))
    spend = [make_task(host, Regression("spend", mean, 1.0)) for mean in (0.0, 9.0)]
    for tasks, part in (
        ([task, make_task(host, patch="lora:1")], "the same patch method"),
        ([task, make_task(host, Classification(["a", "b", "d"]))], "the same kind and labels"),
        ([task, make_task(host, Multilabel(task.labels))], "the same kind and labels"),
        (spend, "the same kind and labels"),  # in different units
        ([task, make_task(host, history_length=9)], "reading of the history"),
        ([task, make_task(new_host())], "on one host object"),
        ([head, head], "of the method patch"),
    ):
        with pytest.raises(InputError, match=part):
            average_tasks(tasks)
    for weights in ([1.0], [0.5, 0.6]):
        with pytest.raises(InputError, match="`weights` should be 2 numbers that sum to one"):
            average_tasks([task, task], weights)
    with pytest.raises(InputError, match="`tasks` should be one or more"):
        average_tasks([])


@pytest.mark.parametrize(
    ("causal", "first", "second"),
    [
        (True, "norm+ia3", "lora:1+bias"),
        (False, "item_lora:2", "item_bottleneck:2"),
        *slow(
            (False, "norm+ia3", "lora:1+bias"),
            (True, "item_lora:2", "item_bottleneck:2"),
            (True, "lora:2", "bottleneck:2"),
            (True, "item_lora:2+norm", "lora:2"),
        ),
    ],
)
def test_a_stack_applies_one_patch_after_the_other(shared_host, causal, first, second, histories):
    any_host = shared_host(causal)
    tasks = [
        make_task(any_host, patch=patch, seed=seed) for seed, patch in enumerate((first, second))
    ]
    stacked = stack_tasks(tasks)
    # The same by hand: at each site the first patch, then the second.
    model, last = any_host.backbone, tasks[-1].model
    histories = known_items(histories)
    padding = model.padding_mask_layer(histories)
    items = model.item_embedding(histories)
    for task in tasks:
        for patch in task.model.patches["item_embedding"].values():
            items = patch(histories, items)
    states, mask, places = last.task_token(items * padding, padding)
    for block in model.blocks:
        both = [task.model.patches[block.name] for task in tasks]

        def at(site):
            def act(inputs, outputs, seen):
                for patches in both:
                    if site in patches:
                        outputs = patches[site](inputs, outputs, seen=seen)
                return outputs

            return act

        patches = {site: at(site) for site in {*both[0], *both[1]}}
        states = block(states, mask, patches=patches)
    pooled = last.patched_host.user_pooling(states, places)
    expected = last.head(last.host.finish(pooled))
    np.testing.assert_allclose(stacked.model(histories), np.asarray(expected), atol=1e-5)
    assert np.abs(scores(stacked, histories) - scores(tasks[-1], histories)).max() > 0.01


def test_a_stack_is_saved_loaded_and_trained(host, histories, tmp_path):
    stacked = stack_tasks(
        [make_task(host, patch="lora:2"), make_task(host, patch="bottleneck:2", seed=2)]
    )
    stacked.save(tmp_path / "both", host)
    loaded = Task.load(tmp_path / "both", host)
    assert loaded.model.patch == get_patch("lora:2+bottleneck:2").for_host(host.backbone)
    assert scores(loaded, histories).tobytes() == scores(stacked, histories).tobytes()
    report = parameter_report(loaded.model)
    assert report["trainable"] == report["patches"] + report["head"]


def test_what_cannot_be_stacked_is_refused(host, new_host):
    with pytest.raises(
        InputError, match="two or more tasks with patches. Received: bottleneck:3,serial"
    ):
        stack_tasks([make_task(host)])
    with pytest.raises(InputError, match="no patch"):
        stack_tasks([make_task(host, method="head"), make_task(host)])
    with pytest.raises(InputError, match="on one host object"):
        stack_tasks([make_task(host), make_task(new_host())])
