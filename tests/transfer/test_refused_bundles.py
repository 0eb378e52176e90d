"""A bundle that cannot be read gives one clear line and leaves the host as it was."""

import numpy as np
import pytest
from task_samples import damage, edit, make_task

from keras_peterrec.errors import InputError
from keras_peterrec.files.weights_file import read_weights, write_weights
from keras_peterrec.transfer.task import Task

DILATIONS = (1, 4)  # of two blocks


@pytest.fixture
def refused(host, bits):
    """Loads a bundle and checks that the error is one line and that the host is unchanged."""

    def load(folder):
        host.backbone.trainable = True  # like a host that was just loaded
        before = bits(host.backbone)
        with pytest.raises(InputError) as info:
            Task.load(folder, host)
        message = str(info.value)
        assert "\n" not in message and "Received: " in message
        assert bits(host.backbone) == before
        assert host.backbone.trainable
        return message

    return load


def test_a_bundle_of_another_host_is_refused(host, new_host, refused, tmp_path):
    other = new_host(seed=1)
    make_task(other).save(tmp_path, other)
    message = refused(tmp_path)
    assert host.fingerprint() in message and other.fingerprint() in message


@pytest.mark.parametrize("version", [0, 1, 2, None])
def test_another_format_version_is_refused(bundle, version, refused):
    edit(bundle / "task.json", format_version=version)
    assert refused(bundle) == (
        f"`task` should be of format version 5. Received: "
        f"{str(bundle / 'task.json')!r}, version {version!r}."
    )


def test_a_folder_without_a_bundle_is_refused(refused, tmp_path):
    assert refused(tmp_path) == (
        f"`task` should be a folder with task.json. Received: {str(tmp_path)!r}, which has none."
    )
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file")


@pytest.mark.parametrize("name", ["task.json", "targets.txt", "weights.npz"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "binary"])
def test_a_damaged_file_is_refused(bundle, name, how, refused):
    damage(bundle / name, how)
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
    make_task(host, method=method).save(tmp_path, host)
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
        {"kind": "classification"},
        {"kind": "regression"},
        {"answers": ...},
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
    edit(bundle / "task.json", **change)
    refused(bundle)


@pytest.mark.parametrize(
    "change",
    [
        {"patch": {"method": "bottleneck", "width": 40_000, "insertion": "serial"}},
        {"linear": {"items": 12, "outputs": 100_000, "events": 9}},
    ],
    ids=str,
)
def test_settings_do_not_ask_for_more_memory_than_is_saved(bundle, change, refused):
    edit(bundle / "task.json", **change)
    assert "more than twice the weights that are saved" in refused(bundle)


@pytest.mark.parametrize(
    "kind, answers",
    [
        ("classification", {}),
        ("classification", {"classes": ["a", "b"]}),
        ("multilabel", {"labels": None}),
        ("regression", {"column": "spend", "mean": "low", "deviation": 1.0}),
        ("regression", {"column": "spend", "mean": 0.0}),
    ],
)
def test_answers_that_do_not_fit_are_refused(host, kind, answers, refused, tmp_path):
    make_task(host, kind).save(tmp_path, host)
    edit(tmp_path / "task.json", answers=answers)
    refused(tmp_path)


@pytest.mark.parametrize("content", ["[]", "1", "null", "{"])
def test_json_that_is_not_a_bundle_is_refused(bundle, content, refused):
    (bundle / "task.json").write_text(content)
    refused(bundle)


def test_missing_target_items_are_refused(bundle, refused):
    lines = (bundle / "targets.txt").read_text().splitlines(keepends=True)
    (bundle / "targets.txt").write_text("".join(lines[:-1]))
    refused(bundle)
