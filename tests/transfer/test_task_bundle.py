"""Task bundles: their content, and loading the same task again."""

import json

import numpy_reference as reference
import pytest
from slow_cases import slow
from task_samples import EVERY_PATCH, KINDS, TARGETS, make_task, scores

from keras_peterrec.errors import InputError
from keras_peterrec.files.weights_file import read_weights
from keras_peterrec.transfer.parameters import parameter_report
from keras_peterrec.transfer.strategies import METHODS, SHARED_HOST
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_bundle import TaskBundle

DILATIONS = (1, 4)  # of two blocks
PATCHES = (*EVERY_PATCH, "lora:1+norm")

ANSWER = {
    "recommendation": lambda task, histories: task.recommend(histories, k=3)[1],
    "classification": lambda task, histories: task.probabilities(histories),
    "multilabel": lambda task, histories: task.probabilities(histories),
    "regression": lambda task, histories: task.values(histories),
}
# A patch with parts of its own, several methods in several places, and changed norms.
SOME = ("compacter:4", PATCHES[-2], PATCHES[-1])
# How many weights of the host a bundle holds: those in which a copy differs.
OF_THE_HOST = {"patch": 0, "head": 0, "last1": 4, "last2": 8}
OF_THE_HOST |= dict.fromkeys(("all", "scratch", "random_host"), 19)


def saved_and_loaded(task, host, folder):
    task.save(folder, host)
    return Task.load(folder, host)


def assert_same_answers(one, other, histories):
    assert scores(one, histories).tobytes() == scores(other, histories).tobytes()


@pytest.mark.parametrize(
    ("causal", "kind"),
    [
        *((True, kind) for kind in KINDS),
        (False, "recommendation"),
        *slow(*((False, kind) for kind in KINDS if kind != "recommendation")),
    ],
)
def test_a_task_of_every_kind_makes_the_round_trip(shared_host, causal, kind, histories, tmp_path):
    any_host = shared_host(causal)
    task = make_task(any_host, kind, settings={"seed": 3})
    loaded = saved_and_loaded(task, any_host, tmp_path / "films")
    assert_same_answers(task, loaded, histories)
    assert ANSWER[kind](loaded, histories).tobytes() == ANSWER[kind](task, histories).tobytes()
    assert type(loaded.kind) is type(task.kind) and vars_of(loaded.kind) == vars_of(task.kind)
    assert loaded.labels == task.labels
    assert loaded.settings == {"seed": 3}
    assert loaded.model.name == "films"
    assert repr(loaded) == f"Task('films', method='patch', kind={task.kind!r})"


def vars_of(kind):
    """What a kind holds, a vocabulary as its items."""
    return {
        name: (value.items.tolist(), value.special_ids) if name == "targets" else value
        for name, value in vars(kind).items()
    }


@pytest.mark.parametrize(
    ("causal", "method"),
    [*((True, method) for method in METHODS), *slow(*((False, method) for method in METHODS))],
)
def test_every_method_makes_the_round_trip(shared_host, causal, method, histories, tmp_path):
    any_host = shared_host(causal)
    task = make_task(any_host, method=method)
    loaded = saved_and_loaded(task, any_host, tmp_path)
    assert_same_answers(task, loaded, histories)
    assert (loaded.method, loaded.model.patch) == (method, task.model.patch)
    assert parameter_report(loaded.model) == parameter_report(task.model)  # it trains the same
    assert (loaded.model.host is any_host.backbone) == (method in SHARED_HOST)
    arrays = read_weights(tmp_path / "weights.npz")
    assert sum(path.startswith("host/") for path in arrays) == OF_THE_HOST[method]
    if method in SHARED_HOST:
        patches = {"patches"} if method == "patch" else set()
        assert {path.split("/")[0] for path in arrays} == {"task_token", "head"} | patches
        own = {array.tobytes() for array in arrays.values()}
        assert not own & {weight.numpy().tobytes() for weight in any_host.backbone.weights}


@pytest.mark.parametrize(
    ("causal", "patch"),
    [
        *((True, patch) for patch in SOME),
        *slow(
            *((True, patch) for patch in PATCHES if patch not in SOME),
            *((False, patch) for patch in PATCHES),
        ),
    ],
)
def test_every_patch_method_makes_the_round_trip(shared_host, causal, patch, histories, tmp_path):
    """Released bundles of every method are read in test_released_formats.py."""
    any_host = shared_host(causal)
    task = make_task(any_host, patch=patch)
    loaded = saved_and_loaded(task, any_host, tmp_path)
    assert_same_answers(task, loaded, histories)
    assert loaded.model.patch == task.model.patch


@pytest.mark.parametrize(
    "length, window, reads", [(None, None, 6), (None, 5, 5), (9, 5, 9), (9, None, 9)]
)  # of a host that reads 6 events
def test_how_much_of_a_history_is_read_survives(host, tmp_path, length, window, reads):
    task = make_task(host, history_length=length, window=window)
    model = saved_and_loaded(task, host, tmp_path).model
    assert model.history_settings() == {"history_length": length, "window": window}
    assert host.history_length(model) == reads


def test_a_bundle_is_as_large_as_its_weights(host, tmp_path):
    task = make_task(host)
    task.save(tmp_path, host)
    report = parameter_report(task.model)
    arrays = read_weights(tmp_path / "weights.npz")
    assert sum(array.nbytes for array in arrays.values()) == 4 * (
        report["patches"] + report["head"]
    )
    overhead = 400 * len(arrays)  # a header for each array
    assert (tmp_path / "weights.npz").stat().st_size < 4 * report["trainable"] + overhead


def test_files_of_a_bundle(host, bundle):
    assert sorted(path.name for path in bundle.iterdir()) == [
        "targets.txt",
        "task.json",
        "weights.npz",
    ]
    saved = json.loads((bundle / "task.json").read_text())
    assert saved["format_version"] == 5
    assert saved["host"] == host.fingerprint()
    assert (saved["kind"], saved["answers"]) == (
        "recommendation",
        {"target_items": 5, "keep_seen": False},
    )
    assert saved["patch"] == {
        "method": "bottleneck",
        "width": 3,
        "insertion": "serial",
        "inner_skip": False,
        "blocks": None,
    }
    assert (bundle / "targets.txt").read_text().splitlines() == TARGETS


@pytest.mark.parametrize(
    "kind, answers",
    [
        ("classification", {"classes": ["a", "b", "ü"]}),
        ("multilabel", {"labels": ["news", "sports"]}),
        ("regression", {"column": "spend", "mean": 1 / 3, "deviation": 2**0.5}),
    ],
)
def test_what_a_bundle_says_of_the_answers(host, kind, answers, tmp_path):
    make_task(host, kind).save(tmp_path, host)
    saved = json.loads((tmp_path / "task.json").read_text())
    assert (saved["kind"], saved["answers"]) == (kind, answers)
    bundle = TaskBundle.read(tmp_path)
    assert bundle.files() == sorted(path.name for path in tmp_path.iterdir())


def test_saving_on_a_host_it_was_not_built_on_is_refused(host, new_host, tmp_path):
    with pytest.raises(InputError):
        make_task(host).save(tmp_path / "films", new_host(seed=1))
    assert not (tmp_path / "films" / "task.json").exists()


def test_tasks_load_side_by_side_on_one_host(host, histories, tmp_path):
    first, second = make_task(host, "recommendation"), make_task(host, patch="bottleneck:2")
    first.save(tmp_path / "films", host)
    second.save(tmp_path / "gender", host)
    loaded = Task.load(tmp_path / "films", host)
    before = scores(loaded, histories)
    other = Task.load(tmp_path / "gender", host)
    assert loaded.model.host is other.model.host
    reference.randomise(other.model.head, 4)
    assert scores(loaded, histories).tobytes() == before.tobytes()
