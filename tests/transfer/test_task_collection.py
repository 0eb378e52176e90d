"""Tasks in one folder on one host: listed, loaded, renamed and deleted without touching others."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from task_samples import make_host, make_task, scores

from keras_peterrec.errors import InputError
from keras_peterrec.transfer.task_collection import TaskCollection

WITHOUT_AGE = {"elsewhere", "file", "gender", "notes"}


@pytest.fixture(scope="module")
def saved_tasks(tmp_path_factory):
    """A folder with two tasks of `host`, one of another and what is no task."""
    folder, host, other = tmp_path_factory.mktemp("tasks"), make_host(), make_host(seed=1)
    make_task(host).save(folder / "gender", host)
    make_task(host, patch="lora:1", seed=1).save(folder / "age", host)
    make_task(other).save(folder / "elsewhere", other)
    (folder / "notes").mkdir()
    (folder / "file").write_text("")
    return folder


@pytest.fixture
def tasks(saved_tasks, host, tmp_path):
    return TaskCollection(shutil.copytree(saved_tasks, tmp_path / "tasks"), host)


def test_lists_the_tasks_of_its_host(tasks, host):
    assert tasks.names() == ["age", "gender"]
    assert TaskCollection(tasks.folder, {host.fingerprint()}).names() == ["age", "gender"]


def test_loads_tasks_over_one_host(tasks, host, histories):
    loaded = [tasks.load(name) for name in tasks.names()]
    assert all(task.model.host is host.backbone for task in loaded)
    expected = make_task(host, patch="lora:1", seed=1)
    np.testing.assert_array_equal(scores(loaded[0], histories), scores(expected, histories))


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        ('{"format_version": 3}', "of format version 5. Received: .*version 3"),
        ('{"format_version": 5}', "settings that fit together. Received: .*'host'"),
        ("[]", "of format version 5"),
        ("{", "valid JSON"),
    ],
)
def test_a_bundle_that_cannot_be_read_is_named_and_left_alone(tasks, capsys, saved, reason):
    (tasks.folder / "broken").mkdir()
    (tasks.folder / "broken" / "task.json").write_text(saved)
    assert tasks.names() == ["age", "gender"]
    assert [found["task"] for found in tasks.describe()] == tasks.names()
    [line] = capsys.readouterr().err.splitlines()  # said once
    assert line.startswith(f"left out: {tasks.folder / 'broken'}: `folder` should ")
    assert re.search(reason, line)
    for act in (tasks.load, tasks.delete):
        with pytest.raises(InputError, match=reason):
            act("broken")
    assert tasks.load("age")


def test_what_cannot_be_described_is_left_out(tasks, capsys):
    (tasks.folder / "age" / "metrics.json").write_text("{")
    assert [found["task"] for found in tasks.describe()] == ["gender"]
    assert f"left out: {tasks.folder / 'age'}: " in capsys.readouterr().err
    assert tasks.load("age")


def test_describes_them(tasks):
    metrics = {
        "parameters": {"trainable": 99},
        "metrics": {"test": {"accuracy": 0.5}},
        "data": {"fingerprint": ["sha256:ab"]},
    }
    (tasks.folder / "age" / "metrics.json").write_text(json.dumps(metrics))
    age, gender = tasks.describe()
    size = (tasks.folder / "age" / "weights.npz").stat().st_size
    assert age == {
        "task": "age",
        "kind": "classification",
        "method": "patch",
        "patch": "lora:1",
        "parameters": 99,
        "bytes": size,
        "test": {"accuracy": 0.5},
        "data": ["sha256:ab"],
    }
    assert (gender["patch"], gender["parameters"], gender["test"]) == (
        "bottleneck:3,serial",
        None,
        {},
    )


def test_renames(tasks, histories):
    before = scores(tasks.load("age"), histories)
    tasks.rename("age", "years")
    assert tasks.names() == ["gender", "years"]
    assert scores(tasks.load("years"), histories).tobytes() == before.tobytes()


@pytest.mark.parametrize("name", ["gender", "notes", "file", "", ".", "..", "a/b", ".age"])
def test_a_new_name_that_is_taken_or_not_allowed_is_refused(tasks, name):
    with pytest.raises(InputError, match="`new_name` should be a name that is free"):
        tasks.rename("age", name)
    assert tasks.names() == ["age", "gender"]


def test_deletes_one_and_leaves_the_rest(tasks):
    tasks.delete("age")
    assert tasks.names() == ["gender"]
    assert {path.name for path in tasks.folder.iterdir()} == WITHOUT_AGE


def test_deletes_after_a_delete_that_was_interrupted(tasks):
    left = tasks.folder / f".age.{'0' * 32}.writing"
    left.mkdir()
    (left / "weights.npz").write_text("")
    tasks.delete("age")
    assert {path.name for path in tasks.folder.iterdir()} == WITHOUT_AGE


@pytest.mark.parametrize("name", ["elsewhere", "notes", "nothing", "../"])
def test_only_its_own_tasks_are_touched(tasks, name):
    before = sorted(tasks.folder.rglob("*"))
    for act in (tasks.load, tasks.delete, lambda name: tasks.rename(name, "new")):
        with pytest.raises(InputError, match="`name` should be one of age, gender. Received: "):
            act(name)
    assert sorted(tasks.folder.rglob("*")) == before


def test_a_path_that_is_not_a_folder_is_refused(host, tmp_path):
    with pytest.raises(InputError, match="`folder` should be a folder with task bundles"):
        TaskCollection(tmp_path / "nowhere", host)


def test_many_tasks_later_no_bit_of_an_answer_has_changed(host, histories, bits):
    """Builds, trains and adds tasks over one host, of methods that reach into it everywhere.

    Each method by itself: test_shared_host.py and, for patches, test_task_bundle.py.
    """
    batch = tf.data.Dataset.from_tensors((histories, np.array([0, 1, 0, 1])))
    before, answers = bits(host.backbone), []
    patches = ("compacter:4", "lora", "norm", "item_lora", "bias", "bias")
    methods = [*(("patch", patch) for patch in patches), ("all", None), ("last1", None)]
    for seed, (method, patch) in enumerate(methods):
        task = make_task(host, "classification", method, patch, seed)
        task.model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
        task.model.fit(batch, verbose=0)
        answers.append((task, scores(task, histories).tobytes()))
    for earlier, answer in answers:
        assert scores(earlier, histories).tobytes() == answer
    assert bits(host.backbone) == before
