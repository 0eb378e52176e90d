"""Batches in which every row has its own task give the answers of the separate tasks."""

import numpy as np
import pytest
from slow_cases import slow
from task_samples import EVERY_PATCH, KINDS, make_task, scores

from keras_peterrec.errors import InputError
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.transfer.combined_tasks import merge_task
from keras_peterrec.transfer.mixed_tasks import MixedTasks

PATCHES = (*EVERY_PATCH, "lora:1+norm+bottleneck:2")


def make_tasks(host, patch="bottleneck:2", **reads):
    """A task of every kind, and a second classification, of other classes."""
    kinds = {**KINDS, "more_classes": Classification("uvwxyz")}
    return {
        name: make_task(host, kind, patch=patch, seed=seed, **reads)
        for seed, (name, kind) in enumerate(kinds.items())
    }


@pytest.mark.parametrize(
    ("causal", "patch"),
    [
        *((True, "compacter:4"), (True, PATCHES[-2]), (False, PATCHES[-1])),
        *slow(
            *((True, patch) for patch in PATCHES if patch not in ("compacter:4", PATCHES[-2])),
            (False, PATCHES[0]),
        ),
    ],
)
def test_every_row_is_answered_by_its_own_task(shared_host, causal, patch, histories):
    tasks = make_tasks(shared_host(causal), patch)
    mixed = MixedTasks.of_tasks(tasks)
    rows = np.tile(histories, (3, 1))
    names = [[*tasks][n % len(tasks)] for n in range(len(rows))]
    answers = mixed.scores(rows, names)
    for number, name in enumerate(tasks):
        own = slice(number, None, len(tasks))
        np.testing.assert_allclose(answers[own], scores(tasks[name], rows[own]), atol=1e-5)


def test_every_row_is_answered_by_its_own_patches_of_fields(new_host, histories):
    host = new_host(fields={"kind": 3, "price": 4})
    tasks = {str(seed): make_task(host, patch="item_lora:2", seed=seed) for seed in range(2)}
    draw, real = np.random.default_rng(0), histories > 0
    fields = [draw.integers(0, size, histories.shape) * real for size in (3, 4)]
    rows = np.stack([histories, *fields], axis=-1)
    places = np.arange(len(rows)) % 2
    found = MixedTasks.of_tasks(tasks).predict_on_batch({"history": rows, "place": places})
    alone = np.stack([task.model.user_states(rows) for task in tasks.values()])
    np.testing.assert_allclose(found, alone[places, np.arange(len(rows))], atol=1e-5)
    merged = merge_task(tasks["1"]).model
    assert merged.host is not host.backbone and not merged.patched_host.patch_layers
    np.testing.assert_allclose(merged.user_states(rows), alone[1], atol=1e-5)


def test_loads_bundles_and_holds_what_they_hold(host, histories, tmp_path, bits):
    tasks = make_tasks(host, "bottleneck:2+item_lora:2")
    for name, task in tasks.items():
        task.save(tmp_path / name, host)
    before = bits(host.backbone)
    mixed = MixedTasks.load([tmp_path / name for name in tasks], host)
    assert [repr(kind) for kind in mixed.kinds] == [repr(task.kind) for task in tasks.values()]
    names = [*reversed(tasks)][: len(histories)]
    for name, row, answer in zip(names, histories, mixed.scores(histories, names)):
        np.testing.assert_allclose(answer, scores(tasks[name], row[np.newaxis])[0], atol=1e-5)
    assert bits(host.backbone) == before
    held = sum(weight.numpy().size for weight in mixed.task_variables())
    assert held == sum(
        weight.numpy().size
        for task in tasks.values()
        for weight in task.model.task_weights().values()
    )
    assert not mixed.trainable_weights


def test_one_pass_of_the_host_for_all_tasks(host, histories, monkeypatch):
    mixed = MixedTasks.of_tasks(make_tasks(host))
    convolution = type(host.backbone.blocks[0].convolutions[0])
    calls = []
    run = convolution.apply_kernel
    monkeypatch.setattr(convolution, "apply_kernel", lambda *args: calls.append(1) or run(*args))
    mixed({"history": histories, "place": np.array([0, 1, 2, 3])})
    assert len(calls) == 2 * len(host.backbone.blocks)


def test_tasks_that_do_not_go_together_are_refused(host, new_host, tmp_path):
    one = make_task(host, patch="lora:2")
    for other, part in (
        (make_task(host, patch="lora:1"), "of one patch method, and read"),
        (make_task(host, patch="lora:2", history_length=9), "Received: 'other' of patch, Lora"),
        (make_task(host, patch="lora:2", history_length=9), "{'history_length': 9"),
        (make_task(host, method="head"), "Received: 'other' of head"),
        (make_task(new_host(), patch="lora:2"), "on one host object"),
    ):
        with pytest.raises(InputError) as info:
            MixedTasks.of_tasks({"one": one, "other": other})
        assert part in str(info.value)
    one.save(tmp_path / "one", host)
    with pytest.raises(InputError, match="a bundle for the host"):
        MixedTasks.load([tmp_path / "one"], new_host(seed=1))
    with pytest.raises(InputError, match="`folders` should have different names"):
        MixedTasks.load([tmp_path / "one", tmp_path / "." / "one"], host)
    assert list(MixedTasks.load(iter([tmp_path / "one"]), host).places_of) == ["one"]
    with pytest.raises(InputError, match="`folders` should be one or more"):
        MixedTasks.load([], host)
    with pytest.raises(InputError, match="`tasks` should be one or more"):
        MixedTasks.of_tasks({})


def test_an_unknown_task_is_refused(host, histories):
    mixed = MixedTasks.of_tasks({"one": make_task(host)})
    with pytest.raises(InputError, match="`tasks` should be of one. Received: `tasks` = 'two'"):
        mixed.scores(histories, ["one", "one", "two", "one"])
