"""Task bundles: what is in them, and the same task again."""

import json

import numpy as np
import numpy_reference as reference
import pytest
from bundle_samples import TARGETS, make_task

from keras_peterrec.errors import InputError
from keras_peterrec.files.weights_file import read_weights
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.transfer.parameter_report import parameter_report
from keras_peterrec.transfer.strategies import METHODS
from keras_peterrec.transfer.task import Task

SHARED = ("patch", "head")
PATCHES = (
    "bottleneck:3",
    "compacter:4",
    "lora:2",
    "ia3",
    "scale_shift",
    "bias",
    "norm",
    "tokens:3",
    "lora:1+norm+tokens:2",
)


@pytest.mark.parametrize(
    "summary, window, reads", [(False, None, 6), (True, 4, 6), (9, 5, 9), (9, None, 9)]
)  # of a host that reads 6 events
def test_what_a_summary_reads_survives(host, tmp_path, summary, window, reads):
    make_task(host, summary=summary, window=window).save(tmp_path / "films", host)
    model = Task.load(tmp_path / "films", host).model
    assert model.summary_settings() == {"summary": summary, "window": window}
    assert host.history_length(model) == reads


@pytest.mark.parametrize("kind", ["recommend", "classify"])
@pytest.mark.parametrize("method", METHODS)
def test_round_trip_is_bitwise(any_host, method, kind, histories, tmp_path):
    task = make_task(any_host, method, kind, seed=3)
    task.save(tmp_path / "films", any_host)
    loaded = Task.load(tmp_path / "films", any_host)
    before, after = (np.asarray(t.model(histories)) for t in (task, loaded))
    assert before.tobytes() == after.tobytes()
    assert (loaded.method, loaded.kind, loaded.classes) == (method, kind, task.classes)
    assert loaded.settings == {"seed": 3}
    assert loaded.model.patch == task.model.patch
    assert (loaded.model.host is any_host.backbone) == (method in SHARED)
    if kind == "recommend":
        assert loaded.targets.items.tolist() == TARGETS and not loaded.targets.special_ids


@pytest.mark.parametrize("patch", PATCHES)
def test_every_patch_method_makes_the_round_trip(any_host, patch, histories, tmp_path):
    task = make_task(any_host, patch=patch)
    task.save(tmp_path / "films", any_host)
    loaded = Task.load(tmp_path / "films", any_host)
    before, after = (np.asarray(t.model(histories)) for t in (task, loaded))
    assert before.tobytes() == after.tobytes()
    assert loaded.model.patch == task.model.patch


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_task_trains_what_it_trained(host, method, tmp_path):
    task = make_task(host, method)
    task.save(tmp_path / "films", host)
    loaded = Task.load(tmp_path / "films", host)
    assert parameter_report(loaded.model) == parameter_report(task.model)


@pytest.mark.parametrize("method", SHARED)
def test_holds_no_weight_of_a_shared_host(host, method, tmp_path):
    make_task(host, method).save(tmp_path, host)
    arrays = read_weights(tmp_path / "weights.npz")
    assert {path.split("/")[0] for path in arrays} == (
        {"task_token", "summary", "head"} | ({"patches"} if method == "patch" else set())
    )
    own = {array.tobytes() for array in arrays.values()}
    shared = {weight.numpy().tobytes() for weight in host.backbone.weights}
    assert not own & shared


def test_a_bundle_weighs_what_its_weights_weigh(host, tmp_path):
    task = make_task(host)
    task.save(tmp_path, host)
    report = parameter_report(task.model)
    arrays = read_weights(tmp_path / "weights.npz")
    assert sum(array.nbytes for array in arrays.values()) == 4 * (
        report["patches"] + report["head"]
    )
    overhead = 400 * len(arrays)  # a header for each array
    assert (tmp_path / "weights.npz").stat().st_size < 4 * report["trainable"] + overhead


@pytest.mark.parametrize(
    "method, count", [("all", 17), ("scratch", 17), ("random_host", 17), ("last1", 4), ("last2", 8)]
)
def test_adds_the_weights_in_which_a_copy_differs(host, method, count, tmp_path):
    make_task(host, method).save(tmp_path, host)
    arrays = read_weights(tmp_path / "weights.npz")
    assert sum(path.startswith("host/") for path in arrays) == count


def test_files_of_a_bundle(host, bundle):
    assert sorted(path.name for path in bundle.iterdir()) == [
        "targets.txt",
        "task.json",
        "weights.npz",
    ]
    saved = json.loads((bundle / "task.json").read_text())
    assert saved["format_version"] == 1
    assert saved["host"] == host.fingerprint()
    assert saved["patch"] == {
        "method": "bottleneck",
        "width": 3,
        "insertion": "serial",
        "inner_skip": False,
        "blocks": None,
    }
    assert (bundle / "targets.txt").read_text().splitlines() == TARGETS


def test_saving_on_a_host_it_was_not_built_on_is_refused(host, new_host, tmp_path):
    with pytest.raises(InputError):
        make_task(host).save(tmp_path / "films", new_host(seed=1))
    assert not (tmp_path / "films" / "task.json").exists()


def test_recommends_the_best_without_the_excluded(host, histories):
    task = make_task(host)
    scores = np.asarray(task.model(histories))
    items, best = task.recommend(histories, k=2)
    order = np.argsort(-scores, axis=1)[:, :2]
    assert items.tolist() == [[TARGETS[n] for n in row] for row in order]
    np.testing.assert_array_equal(best, np.take_along_axis(scores, order, axis=1))
    exclude = [[row[0], "never heard of"] for row in items]
    again, _ = task.recommend(histories, k=2, exclude=exclude)
    assert again[:, 0].tolist() == items[:, 1].tolist()
    assert not set(again.ravel()) - set(TARGETS)


def test_probabilities_sum_to_one(host, histories):
    task = make_task(host, kind="classify")
    probabilities = task.probabilities(histories)
    logits = np.asarray(task.model(histories)).astype("float64")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)


def test_tasks_load_side_by_side_on_one_host(host, histories, tmp_path):
    first, second = make_task(host), make_task(host, kind="classify", patch=Bottleneck(2))
    first.save(tmp_path / "films", host)
    second.save(tmp_path / "gender", host)
    loaded = Task.load(tmp_path / "films", host)
    before = np.asarray(loaded.model(histories))
    other = Task.load(tmp_path / "gender", host)
    assert loaded.model.host is other.model.host
    reference.randomise(other.model.head, 4)
    assert np.asarray(loaded.model(histories)).tobytes() == before.tobytes()
