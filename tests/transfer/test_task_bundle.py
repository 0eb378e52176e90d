"""Task bundles: what is in them, the same task again, or one clear line."""

import json

import numpy as np
import pytest

import numpy_reference as reference
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import InputError
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.transfer.parameter_report import parameter_report
from keras_peterrec.transfer.strategies import METHODS, build_task
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.weights_file import read_weights, write_weights

TARGETS = ["film", "book", "song", "game", "play"]
SHARED = ("patch", "head")
PATCHES = ("bottleneck:3", "compacter:4", "lora:2", "ia3", "scale_shift", "bias", "norm",
           "tokens:3", "lora:1+norm+tokens:2")  # fmt: skip


def make_task(
    host, method="patch", kind="recommend", patch=Bottleneck(3, "serial"), summary=True,
    window=None, **settings,
):  # fmt: skip
    head = RecommenderHead(len(TARGETS)) if kind == "recommend" else ClassifierHead(3)
    model = build_task(host.backbone, head, method, patch, summary=summary, window=window)
    for seed, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(seed).normal(0, 0.3, weight.shape))
    if kind == "recommend":
        targets = Vocabulary(TARGETS, special_ids=False)
        return Task(model, method, targets=targets, settings=settings)
    return Task(model, method, classes=["a", "b", "ü"], settings=settings)


def edit(folder, **changes):
    content = json.loads((folder / "task.json").read_text())
    content.update(changes)
    content = {key: value for key, value in content.items() if value is not ...}
    (folder / "task.json").write_text(json.dumps(content))


@pytest.fixture
def bundle(host, tmp_path):
    make_task(host).save(tmp_path / "films", host)
    return tmp_path / "films"


@pytest.mark.parametrize(
    "summary, window, reads", [(False, None, 6), (True, 4, 6), (9, 5, 9), (9, None, 9)]
)  # of a host that reads 6 events
def test_what_a_summary_reads_survives(host, tmp_path, summary, window, reads):
    make_task(host, summary=summary, window=window).save(tmp_path / "films", host)
    model = Task.load(tmp_path / "films", host).model
    assert model.summary_settings() == {"summary": summary, "window": window}
    assert host.history_length(model) == reads


@pytest.fixture
def refused(host, bits):
    """Loads on the host; wants one line, and the host as it was."""

    def load(folder):
        host.backbone.trainable = True  # as a host is that was only just loaded
        before = bits(host.backbone)
        with pytest.raises(InputError) as info:
            Task.load(folder, host)
        message = str(info.value)
        assert "\n" not in message and "Received: " in message
        assert bits(host.backbone) == before
        assert host.backbone.trainable
        return message

    return load


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
        "targets.txt", "task.json", "weights.npz"
    ]
    saved = json.loads((bundle / "task.json").read_text())
    assert saved["format_version"] == 1
    assert saved["host"] == host.fingerprint()
    assert saved["patch"] == {
        "method": "bottleneck", "width": 3, "insertion": "serial", "inner_skip": False,
        "blocks": None,
    }
    assert (bundle / "targets.txt").read_text().splitlines() == TARGETS


def test_saving_on_a_host_it_was_not_built_on_is_refused(host, new_host, tmp_path):
    with pytest.raises(InputError):
        make_task(host).save(tmp_path / "films", new_host(seed=1))
    assert not (tmp_path / "films" / "task.json").exists()


def test_a_bundle_of_another_host_is_refused(host, new_host, refused, tmp_path):
    other = new_host(seed=1)
    make_task(other).save(tmp_path, other)
    message = refused(tmp_path)
    assert host.fingerprint() in message and other.fingerprint() in message


@pytest.mark.parametrize("version", [0, 2, None])
def test_another_format_version_is_refused(bundle, version, refused):
    edit(bundle, format_version=version)
    assert refused(bundle) == (
        f"`task` should be of format version 1. Received: "
        f"{str(bundle / 'task.json')!r}, version {version!r}."
    )


def test_a_folder_without_a_bundle_is_refused(refused, tmp_path):
    assert refused(tmp_path) == (
        f"`task` should be a folder with task.json. Received: {str(tmp_path)!r}, which has none."
    )
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file")


@pytest.mark.parametrize("name", ["task.json", "targets.txt", "weights.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "binary"])
def test_a_damaged_file_is_refused(bundle, name, damage, refused):
    content = (bundle / name).read_bytes()
    if damage == "missing":
        (bundle / name).unlink()
    else:
        cut = {"empty": b"", "half": content[: len(content) // 2], "binary": b"\xff\x00\n" * 9}
        (bundle / name).write_bytes(cut[damage])
    refused(bundle)


def change_weights(folder, change):
    arrays = read_weights(folder / "weights.npz")
    change(arrays)
    write_weights(folder / "weights.npz", arrays)


def test_a_wrong_shape_is_refused_and_named(bundle, refused):
    path = "patches/block_2/convolution_1/down_kernel"
    change_weights(bundle, lambda arrays: arrays.update({path: np.ones((8, 4), "float32")}))
    message = refused(bundle)
    assert path in message and "(8, 3)" in message and "(8, 4)" in message


@pytest.mark.parametrize("path", ["head/item_table", "task_token/token"])
def test_a_missing_weight_is_refused_and_named(bundle, path, refused):
    change_weights(bundle, lambda arrays: arrays.pop(path))
    assert path in refused(bundle)


def test_an_unknown_weight_is_refused_and_named(bundle, refused):
    change_weights(bundle, lambda arrays: arrays.update(more=np.ones(1)))
    assert "'more'" in refused(bundle)


@pytest.mark.parametrize("method", ["all", "last1", "random_host"])
def test_a_missing_weight_of_a_copy_is_refused_and_named(host, method, refused, tmp_path):
    make_task(host, method).save(tmp_path, host)
    path = "host/block_2/convolution_2/kernel"
    change_weights(tmp_path, lambda arrays: arrays.pop(path))
    assert path in refused(tmp_path)


def test_a_weight_of_the_host_in_a_bundle_of_patches_is_refused(bundle, refused):
    path = "host/block_2/convolution_2/kernel"
    change_weights(bundle, lambda arrays: arrays.update({path: np.ones((3, 8, 8))}))
    assert path in refused(bundle)


def test_pickled_objects_are_refused_and_never_run(bundle, refused, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    bomb = np.empty(1, object)
    bomb[0] = Trap()
    arrays = read_weights(bundle / "weights.npz")
    np.savez(bundle / "weights.npz", **{**arrays, "task_token/token": bomb})
    refused(bundle)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"method": "graft"},
        {"method": ...},
        {"kind": "rank"},
        {"kind": ...},
        {"kind": "classify"},
        {"host": ...},
        {"patch": {"method": "lora"}},
        {"patch": {"method": "lorra"}},
        {"patch": {"method": "stack", "methods": []}},
        {"patch": {"method": "stack"}},
        {"patch": {"method": "bottleneck", "width": 3, "insertion": "serial", "blocks": [1]}},
        {"patch": {"method": "bottleneck", "depth": 2}},
        {"patch": {"method": "bottleneck", "width": 4, "insertion": "serial"}},
        {"patch": None},
        {"patch": ...},
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(bundle, change, refused):
    edit(bundle, **change)
    refused(bundle)


@pytest.mark.parametrize("content", ["[]", "1", "null", "{"])
def test_json_that_is_no_bundle_is_refused(bundle, content, refused):
    (bundle / "task.json").write_text(content)
    refused(bundle)


def test_targets_that_were_cut_are_refused(bundle, refused):
    lines = (bundle / "targets.txt").read_text().splitlines(keepends=True)
    (bundle / "targets.txt").write_text("".join(lines[:-1]))
    refused(bundle)


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
