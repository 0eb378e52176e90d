"""The next version of a published export: tasks more, tasks less, nothing trained."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.runs import extend_export as extend_export_module
from keras_peterrec.runs.check_export_folder import check_export_folder
from keras_peterrec.runs.export import export_runs
from keras_peterrec.runs.extend_export import extend_export
from keras_peterrec.serving.checks.export_folder import ExportFolder
from keras_peterrec.serving.checks.files import check_bundles
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from serving_samples import HISTORIES, assert_same, make_host, make_task


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a host, of three tasks and of another host."""
    folder = tmp_path_factory.mktemp("runs")
    host = make_host()
    host.save(folder / "host")
    make_host(seed=5).save(folder / "other")
    make_task(host).save(folder / "films", host)
    make_task(host, seed=8).save(folder / "new" / "films", host)
    make_task(host, seed=9).save(folder / "books", host)
    make_task(host, "classify", seed=2).save(folder / "age", host)
    make_task(host, method="all", items=8, seed=3).save(folder / "tuned", host)
    return folder


@pytest.fixture(scope="module")
def first(runs, tmp_path_factory):
    """A first version with `films` and `tuned`."""
    out = tmp_path_factory.mktemp("published") / "peterrec" / "1"
    export_runs(runs / "host", [runs / "films", runs / "tuned"], out, k=5)
    return out


@pytest.fixture
def base(first, tmp_path):
    return shutil.copytree(first.parent, tmp_path / "peterrec")


def test_a_task_more(runs, base):
    report = extend_export(base, [runs / "age"])
    assert report["out"] == str(base / "2")
    before, after = ExportedModel(base / "1"), ExportedModel(base / "2")
    for name in before.signatures:
        assert_same(after.predict(name, HISTORIES), before.predict(name, HISTORIES))
    assert after.predict("age", ["s1"])["classes"].shape == (1, 3)
    assert after.description["k"] == 5
    assert list(after.description["tasks"]) == ["films", "tuned", "age"]
    assert after.description["host_path"] == str((runs / "host").resolve())


def test_a_task_less_and_another_k(base):
    extend_export(base, remove_task=["tuned"], k=3)
    model = ExportedModel(base / "2")
    assert model.signatures == ["embed", "films", "serving_default"]
    assert model.predict("films", ["s1"])["items"].shape == (1, 3)


def test_replaced_in_an_older_version(runs, base):
    (base / "7").mkdir()  # not whole, so not the newest to read; its number is taken
    report = extend_export(base / "1", [runs / "new" / "films"], remove_task=["films"])
    assert report["out"] == str(base / "8")
    old, new = (ExportedModel(base / n).predict("films", ["s1"])["scores"] for n in "18")
    assert abs(old - new).max() > 1e-3


def test_single_events_are_kept(runs, tmp_path):
    out = tmp_path / "peterrec" / "1"
    export_runs(runs / "host", [runs / "films"], out, k=5, incremental=True)
    state = ExportedModel(out).step("films", ["s1"])["state_bytes"]
    extend_export(out.parent, [runs / "age"])
    after = ExportedModel(tmp_path / "peterrec" / "2")
    assert after.description["incremental"] is True
    # A state goes on in the next version: the weights are the same.
    answer = after.step("films", ["s2"], list(state), ["s1 s2"])
    answer.pop("state_bytes")
    assert_same(answer, after.predict("films", ["s1 s2"]))
    assert after.step("age", ["s1"])["classes"].shape == (1, 3)


@pytest.fixture(scope="module")
def with_mixed(runs, tmp_path_factory):
    """A version with `films`, and with `age` and `books` mixed."""
    out = tmp_path_factory.mktemp("mixed") / "peterrec" / "1"
    report = export_runs(runs / "host", [runs / "films"], out, k=5, mixed=runs)
    assert report["signatures"][-1] == "mixed"
    return out


def test_a_folder_of_mixed_tasks(runs, with_mixed, tmp_path):
    # `films` has a signature of its own, `tuned` is of another method.
    model = ExportedModel(with_mixed)
    assert model.description["mixed"] == ["age", "books"]
    assert list(model.description["tasks"]) == ["films"]
    assert set(model.mixed(["s1"], ["age"])["labels"][0][:3]) == {"young", "middle-aged", "old"}
    for folder in (tmp_path, runs / "nope"):
        with pytest.raises(InputError, match="`mixed` should be a folder with task bundles of"):
            export_runs(runs / "host", [runs / "films"], tmp_path / "2", mixed=folder)


def test_mixed_tasks_are_taken_over(runs, with_mixed, tmp_path, monkeypatch):
    base = shutil.copytree(with_mixed.parent, tmp_path / "peterrec")
    with pytest.raises(InputError, match="--remove-task age. Received: 'age', which `base` has"):
        extend_export(base, [runs / "age"])
    extend_export(base, [runs / "new" / "films"], remove_task=["films", "age"])
    before, after = ExportedModel(base / "1"), ExportedModel(base / "2")
    assert after.description["mixed"] == ["books"]
    assert list(after.description["tasks"]) == ["films"]
    assert_same(*(m.mixed(HISTORIES, ["books"] * len(HISTORIES)) for m in (after, before)))
    assert (after.mixed(["s1"], ["age"])["labels"] == "").all()
    assert check_bundles(ExportFolder(base / "2")) == []
    # With the last mixed task, its signature goes: there is nothing left to mix.
    monkeypatch.setattr(extend_export_module, "export", lambda *arguments: arguments[-1])
    assert extend_export(base, remove_task=["books"]) is None
    # Of a version that mixed tasks before their bundles were kept.
    shutil.rmtree(base / "1" / "assets.extra" / "mixed_tasks" / "age")
    with pytest.raises(InputError, match="`base` should hold its task bundles.*without age"):
        extend_export(base / "1", remove_task=["films"])
    assert check_bundles(ExportFolder(base / "1")) == [
        "age: its task bundle assets.extra/mixed_tasks/age is missing"
    ]


def test_mixed_tasks_of_several_patch_methods(runs, tmp_path):
    host = Host.load(runs / "host")
    for name, patch in (("one", "lora:1"), ("two", "lora:2")):
        model = build_task(host.backbone, ClassifierHead(3), "patch", patch)
        Task(model, "patch", classes=["a", "b", "c"]).save(tmp_path / "mixed" / name, host)
    with pytest.raises(InputError, match="^`mixed` should be .*of one patch method.*'two'"):
        export_runs(runs / "host", [], tmp_path / "1", mixed=tmp_path / "mixed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "`base` should be given with a `task` to add"),
        ({"task": ["films"]}, "replaced with --remove-task films. Received: 'films'"),
        ({"remove_task": ["nope"]}, "`remove_task` should be one of films, tuned. Received: 'no"),
        ({"task": ["age"], "host": "other"}, "`host` should be the host of `base`, sha256"),
        ({"task": ["nope"]}, "`task` should be a folder with task.json"),
        ({"task": ["age", "age"]}, "folders of different names"),
        ({"k": 0}, "`k` should be a positive integer"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(runs, base, options, said):
    options = {"task": [], **options}
    options["task"] = [runs / name for name in options["task"]]
    if "host" in options:
        options["host"] = runs / options["host"]
    with pytest.raises(InputError, match=said) as error:
        extend_export(base, **options)
    assert "\n" not in str(error.value)
    assert [path.name for path in base.iterdir()] == ["1"]


def test_bases_that_cannot_be_extended(runs, base, tmp_path):
    for path in (tmp_path / "nope", tmp_path):
        with pytest.raises(InputError, match="`base` should be a folder with versions"):
            extend_export(path, [runs / "age"])
    described = base / "1" / "assets.extra" / "peterrec.json"
    description = json.loads(described.read_text())
    described.write_text(json.dumps({**description, "host_path": None}))
    with pytest.raises(InputError, match="`host` should be given"):
        extend_export(base, [runs / "age"])
    described.write_text(json.dumps({**description, "host_path": str(tmp_path / "moved")}))
    with pytest.raises(InputError, match="`host` should be a folder with host.json"):
        extend_export(base, [runs / "age"])
    shutil.rmtree(base / "1" / "assets.extra" / "tasks" / "tuned")
    with pytest.raises(InputError, match="without tuned"):
        extend_export(base, [runs / "age"], host=runs / "host")
    with pytest.raises(InputError, match="`check` should be a version directory"):
        check_export_folder(tmp_path / "nope")
