"""Batches in which every row has its own task, against the tasks one by one."""

import numpy as np
import pytest

from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import InputError
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

PATCHES = (
    "bottleneck:2",
    "compacter:4",
    "lora:2",
    "scale_shift",
    "norm",
    "tokens:3",
    "lora:1+norm+bottleneck:2+tokens:2",
)


def make_task(host, patch, seed, method="patch", summary=False):
    """Of even seeds a classification of 2 + seed classes, of odd ones a recommendation."""
    head = RecommenderHead(3 + seed) if seed % 2 else ClassifierHead(2 + seed)
    model = build_task(host.backbone, head, method, patch, summary=summary)
    rng = np.random.default_rng(seed)
    for weight in model.task_weights().values():
        weight.assign(rng.normal(0.3, 0.4, weight.shape))
    if seed % 2:
        targets = Vocabulary([f"t{n}" for n in range(3 + seed)], special_ids=False)
        return Task(model, method, targets=targets)
    return Task(model, method, classes=[str(n) for n in range(2 + seed)])


@pytest.mark.parametrize(
    ("patch", "summary"), [*((patch, False) for patch in PATCHES), ("bottleneck:2", True)]
)
def test_every_row_is_answered_by_its_own_task(any_host, patch, summary, histories):
    tasks = {f"task{n}": make_task(any_host, patch, n, summary=summary) for n in range(5)}
    mixed = MixedTasks.of_tasks(tasks)
    rows = np.tile(histories, (3, 1))
    names = [f"task{n % 5}" for n in range(len(rows))]
    answers = mixed.scores(rows, names)
    for row, name, answer in zip(rows, names, answers, strict=True):
        expected = np.asarray(tasks[name].model(row[np.newaxis]))[0]
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_loads_bundles_and_holds_what_they_hold(host, histories, tmp_path, bits):
    tasks = [make_task(host, "bottleneck:2", seed, summary=True) for seed in range(4)]
    folders = [tmp_path / f"task{seed}" for seed in range(4)]
    for task, folder in zip(tasks, folders):
        task.save(folder, host)
    before = bits(host.backbone)
    mixed = MixedTasks.load(folders, host)
    answers = mixed.scores(histories, ["task3", "task0", "task1", "task2"])
    for task, row, answer in zip((tasks[n] for n in (3, 0, 1, 2)), histories, answers):
        np.testing.assert_allclose(answer, np.asarray(task.model(row[np.newaxis]))[0], atol=1e-5)
    assert bits(host.backbone) == before
    held = sum(weight.numpy().size for weight in mixed.task_variables())
    assert held == sum(
        weight.numpy().size for task in tasks for weight in task.model.task_weights().values()
    )
    assert not mixed.trainable_weights


def test_one_pass_of_the_host_for_all_tasks(host, histories, monkeypatch):
    mixed = MixedTasks.of_tasks({f"{n}": make_task(host, "bottleneck:2", n) for n in range(4)})
    convolution = type(host.backbone.blocks[0].convolutions[0])
    calls = []
    run = convolution.call
    monkeypatch.setattr(
        convolution, "call", lambda *args, **more: calls.append(1) or run(*args, **more)
    )
    mixed({"history": histories, "place": np.array([0, 1, 2, 3])})
    assert len(calls) == 2 * len(host.backbone.blocks)


def test_tasks_that_do_not_go_together_are_refused(host, new_host, tmp_path):
    one = make_task(host, "lora:2", 0)
    for other, part in (
        (make_task(host, "lora:1", 2), "of one patch method, and with"),
        (make_task(host, "lora:2", 2, summary=True), "Received: 'other' of patch, Lora"),
        (make_task(host, "lora:2", 2, summary=9), "{'summary': 9, 'window': None}"),
        (make_task(host, None, 2, "head"), "Received: 'other' of head"),
        (make_task(new_host(), "lora:2", 2), "on one host object"),
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


def test_an_unknown_task_is_refused(host, histories):
    mixed = MixedTasks.of_tasks({"one": make_task(host, "lora:2", 0)})
    with pytest.raises(InputError, match="`tasks` should be of one. Received: 'two'"):
        mixed.scores(histories, ["one", "one", "two", "one"])
