"""`export`: a first version, the next one of a published export, and a check."""

import json
import logging
import shutil

import absl.logging
import numpy as np
import pytest
import tensorflow as tf
from commands import run_here
from serving_samples import (
    CLASSES,
    HISTORIES,
    TOPICS,
    assert_same,
    filled,
    make_host,
    make_kind,
    make_task,
    padded,
    problems,
    without_counts,
)

import keras_peterrec as kp
from keras_peterrec.errors import InputError
from keras_peterrec.linear.vector_regression import predicted_vectors
from keras_peterrec.log.item_features import read_items
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.runs import export as export_module
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.verify.contents import check_bundles
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.transfer.grown_host import add_items
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

pytestmark = pytest.mark.usefixtures("unasked")


HEADS = {"age": "classification", "topics": "multilabel", "spend": "regression"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a host, of its tasks and of another host."""
    folder = tmp_path_factory.mktemp("runs")
    host = make_host()
    host.save(folder / "host")
    make_host(seed=5).save(folder / "other")
    make_task(host, method="head").save(folder / "films", host)
    make_task(host, seed=8).save(folder / "new" / "films", host)
    make_task(host, seed=9).save(folder / "books", host)
    make_task(host, "classification", seed=2).save(folder / "age", host)
    make_task(host, "multilabel", seed=4).save(folder / "topics", host)
    make_task(host, "regression", seed=5).save(folder / "spend", host)
    make_task(host, method="all", items=8, seed=3).save(folder / "tuned", host)
    # As what they answer is traced sooner.
    for name, kind in (("brief", "recommendation"), *HEADS.items()):
        make_task(host, kind, "head", 8, seed=7).save(folder / "heads" / name, host)
    return folder


@pytest.fixture(scope="module")
def first(runs, tmp_path_factory):
    """A first version with `films` and `brief`, a head."""
    out = tmp_path_factory.mktemp("published") / "peterrec" / "1"
    export_runs(runs / "host", [runs / "films", runs / "heads" / "brief"], out, k=5)
    return out


@pytest.fixture
def base(first, tmp_path):
    return shutil.copytree(first.parent, tmp_path / "peterrec")


def alone(task, folder):
    """A folder with nothing but a task."""
    (folder / "mixed").mkdir()
    (folder / "mixed" / task.name).symlink_to(task)
    return folder / "mixed"


def asked(model):
    """What every signature of histories answers."""
    return {name: model.predict(name, HISTORIES) for name in model.signatures}


def test_tasks_more_and_less(runs, base):
    """A task of each kind is added, and one is removed; the others answer as before."""
    added = [runs / "heads" / name for name in HEADS]
    report = export_runs(base=base, task=added, remove_task=["brief"])
    assert report["out"] == str(base / "2")
    assert {"age_classify", "topics_classify", "spend_regress"} <= set(report["signatures"])
    first, second = (ExportedModel(base / version) for version in "12")
    answers, before = asked(second), asked(first)
    assert sorted(answers) == ["age", "embed", "films", "serving_default", "spend", "topics"]
    for name in before.keys() - {"brief"}:
        assert_same(answers[name], before[name])
    assert set(answers["age"]["classes"][0]) == set(CLASSES)
    assert set(answers["topics"]["labels"][0]) == set(TOPICS)
    spend = Task.load(added[-1], Host.load(runs / "host")).predict(HISTORIES)
    np.testing.assert_allclose(answers["spend"]["value"], spend["value"], rtol=1e-5)
    assert second.description["k"] == 5
    kinds = {name: task["kind"] for name, task in second.description["tasks"].items()}
    assert list(kinds) == ["films", "age", "topics", "spend"]
    assert list(kinds.values())[1:] == ["classification", "multilabel", "regression"]
    assert second.description["host_path"] == str((runs / "host").resolve())


@pytest.mark.slow
def test_objects_are_exported_as_their_folders(runs, first, tmp_path):
    host = Host.load(runs / "host")
    tasks = {"films": Task.load(runs / "films", host), "brief": runs / "heads" / "brief"}
    model = ExportedModel(first)
    best = {model.predict(name, HISTORIES)["items"][0, 0]: "Zero" for name in tasks}
    done = kp.export(host, tasks, tmp_path / "1", k=5, items=best)
    assert done["out"] == str(tmp_path / "1")
    found = ExportedModel(tmp_path / "1")
    assert found.description["host_path"] is None
    for name in ("films", "brief"):
        answer = found.predict(name, HISTORIES)
        assert "Zero" in answer.pop("titles")
        assert_same(answer, model.predict(name, HISTORIES))


def test_tensorflow_says_nothing_in_a_notebook(runs, tmp_path):
    """There its loggers tell what is informative: which assets were written, for one."""
    said, handler = [], logging.Handler(logging.INFO)
    handler.emit = lambda record: said.append(record.getMessage())
    loggers = [tf.get_logger(), absl.logging.get_absl_logger()]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        kp.export(runs / "host", runs / "heads" / "brief", tmp_path / "1")
        assert [logger.level for logger in loggers] == [logging.INFO] * 2
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    assert said == []


@pytest.mark.slow
def test_what_was_written_is_checked_in_one_call(runs, base, monkeypatch):
    verified = []
    monkeypatch.setattr(
        "keras_peterrec.serving.verify.verify_export.verify_export",
        lambda path, *how: verified.append((path.name, *how)) or ["a: is wrong"],
    )
    words = ["--base", base, "--remove-task", "brief", "--check"]
    done = run_here("export", *words)
    assert done.returncode == 2 and verified == [("2", False, False)], done.stderr
    assert "signatures: " in done.stdout and done.stdout.endswith("a: is wrong\n")
    assert ExportedModel(base / "2").signatures == ["embed", "films", "serving_default"]
    done = run_here("export", "--check")
    assert done.returncode == 2 and "--host and --out for a new export" in done.stderr


@pytest.mark.slow
def test_replaced_in_an_older_version(runs, base):
    (base / "7").mkdir()  # not whole, so not the newest to read; its number is taken
    changes = {"task": [runs / "new" / "films"], "remove_task": ["films", "brief"], "k": 3}
    report = export_runs(base=base / "1", **changes)
    assert report["out"] == str(base / "8")
    old, new = (ExportedModel(base / n).predict("films", ["s1"])["scores"] for n in "18")
    assert old.shape == (1, 5) and new.shape == (1, 3)
    assert abs(old[:, :3] - new).max() > 1e-3


@pytest.mark.slow
def test_single_events_are_kept(runs, tmp_path):
    out = tmp_path / "peterrec" / "1"
    export_runs(runs / "host", [runs / "films"], out.parent / "0", k=5)
    export_runs(base=out.parent, incremental=True)  # asked for later
    state = ExportedModel(out).step("films", ["s1"])["state_bytes"]
    export_runs(base=out.parent, task=[runs / "age", runs / "spend"])
    with pytest.raises(InputError, match="`incremental` where it lacks"):
        export_runs(base=out.parent, incremental=True)
    after = ExportedModel(tmp_path / "peterrec" / "2")
    assert after.description["incremental"] is True
    # A state goes on in the next version: the weights are the same.
    answer = after.step("films", ["s2"], list(state), ["s1 s2"])
    answer.pop("state_bytes")
    assert_same(without_counts(answer), after.predict("films", ["s1 s2"]))
    for name in ("age", "spend"):
        answer = after.step(name, ["s1"])
        answer.pop("state_bytes")
        assert_same(answer, after.predict(name, ["s1"]))


MIXED = ["age", "books", "spend", "topics"]


@pytest.fixture(scope="module")
def with_mixed(runs, tmp_path_factory):
    """A version with `films`, and with the other patch tasks mixed."""
    out = tmp_path_factory.mktemp("mixed") / "peterrec" / "1"
    report = export_runs(runs / "host", [runs / "films"], out, k=5, mixed=runs)
    assert report["signatures"][-1] == "mixed"
    return out


@pytest.mark.slow
def test_a_folder_of_mixed_tasks(runs, with_mixed, tmp_path):
    # `films` has a signature of its own, `tuned` is of another method.
    model = ExportedModel(with_mixed)
    assert model.description["mixed"] == MIXED
    assert list(model.description["tasks"]) == ["films"]
    labels = dict(zip(MIXED, model.mixed(["s1"] * 4, MIXED)["labels"]))
    assert set(labels["age"][:3]) == set(CLASSES)
    assert set(labels["topics"][:4]) == set(TOPICS)
    assert labels["spend"][0] == "spend"
    for folder in (tmp_path, runs / "nope"):
        with pytest.raises(InputError, match="`mixed` should be a folder with task bundles of"):
            export_runs(runs / "host", [runs / "films"], tmp_path / "2", mixed=folder)


@pytest.mark.slow
def test_mixed_tasks_are_taken_over(runs, with_mixed, tmp_path, monkeypatch):
    base = shutil.copytree(with_mixed.parent, tmp_path / "peterrec")
    with pytest.raises(InputError, match="--remove-task age. Received: 'age', which `base` has"):
        export_runs(base=base, task=[runs / "age"])
    changes = {"task": [runs / "new" / "films"], "remove_task": ["films", "age", "topics"]}
    export_runs(base=base, **changes)
    before, after = ExportedModel(base / "1"), ExportedModel(base / "2")
    assert after.description["mixed"] == ["books", "spend"]
    assert list(after.description["tasks"]) == ["films"]
    for name in after.description["mixed"]:
        assert_same(*(m.mixed(HISTORIES, [name] * len(HISTORIES)) for m in (after, before)))
    assert (after.mixed(["s1"], ["age"])["labels"] == "").all()
    assert check_bundles(ExportFolder(base / "2")) == []
    # With the last mixed task, its signature goes: there is nothing left to mix.
    monkeypatch.setattr(export_module, "write_export", lambda *arguments, **more: arguments[-1])
    assert export_runs(base=base, remove_task=["books", "spend"]) is None
    shutil.rmtree(base / "1" / "assets.extra" / "mixed_tasks" / "age")
    with pytest.raises(InputError, match="`base` should hold its task bundles.*without age"):
        export_runs(base=base / "1", remove_task=["films"])
    assert check_bundles(ExportFolder(base / "1")) == [
        "age: its task bundle assets.extra/mixed_tasks/age is missing"
    ]


def test_mixed_tasks_of_several_patch_methods(runs, tmp_path):
    host = Host.load(runs / "host")
    for name, patch in (("one", "lora:1"), ("two", "lora:2")):
        kind = make_kind("classification")
        model = build_task(host.backbone, kind.new_head(), "patch", patch)
        Task(model, "patch", kind).save(tmp_path / "mixed" / name, host)
    with pytest.raises(InputError, match="^`mixed` should be .*of one patch method.*'two'"):
        export_runs(runs / "host", [], tmp_path / "1", mixed=tmp_path / "mixed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "`base` should be given with a `task` to add"),
        ({"task": ["films"]}, "replaced with --remove-task films. Received: 'films'"),
        (
            {"remove_task": ["nope"]},
            "`remove_task` should be one of films, brief. Received: `remove_task` = 'no",
        ),
        ({"task": ["age"], "host": "other"}, "`host` should be the host of `base`, sha256"),
        ({"task": ["nope"]}, "`task` should be a folder with task.json"),
        ({"task": ["age", "age"]}, "folders of different names"),
        ({"k": 0}, "`k` should be a positive integer"),
        ({"mixed": "runs"}, "`mixed` cannot be used with --base"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(runs, base, options, said):
    options = {"task": [], **options}
    options["task"] = [runs / name for name in options["task"]]
    if "host" in options:
        options["host"] = runs / options["host"]
    with pytest.raises(InputError, match=said) as error:
        export_runs(base=base, **options)
    assert "\n" not in str(error.value)
    assert [path.name for path in base.iterdir()] == ["1"]


def test_bases_that_cannot_be_extended(runs, base, tmp_path):
    def refuse(said, path=base, **options):
        with pytest.raises(InputError, match=said):
            export_runs(base=path, task=[runs / "age"], **options)

    for path in (tmp_path / "nope", tmp_path):
        refuse("`base` should be a folder with versions", path)
    described = base / "1" / "assets.extra" / "peterrec.json"
    description = json.loads(described.read_text())
    for version in (2, 6):
        described.write_text(json.dumps({**description, "format_version": version}))
        refuse(f"`base` .*format.*{version}")
    described.write_text(json.dumps({**description, "host_path": None}))
    refuse("`host` should be given")
    described.write_text(json.dumps({**description, "host_path": str(tmp_path / "moved")}))
    refuse("`host` should be a folder with host.json")
    shutil.rmtree(base / "1" / "assets.extra" / "tasks" / "brief")
    refuse("without brief", host=runs / "host")


def test_a_check_finds_the_newest_version(tmp_path):
    with pytest.raises(InputError, match="`check` should be a version directory"):
        export_runs(check_folder=tmp_path / "nope")
    for version in ("2", "10"):
        (tmp_path / version).mkdir()
    for folder in (tmp_path, tmp_path / "10"):
        checked = export_runs(check_folder=folder)
        assert checked["path"] == str(tmp_path / "10")
        assert "files: saved_model.pb is missing" in checked["problems"]
        assert "C loader" in checked["checks"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Received: none of them"),
        ({"out": "1"}, "`host` should be given with --out"),
        ({"out": "1", "base": "."}, "Received: --base and --out"),
        ({"check_folder": ".", "k": 3}, "`k` cannot be used with --check"),
        (
            {"host": "h", "out": "1", "remove_task": ["a"]},
            "`remove_task` cannot be used with --out",
        ),
    ],
)
def test_one_thing_at_a_time(options, said):
    with pytest.raises(InputError, match=said):
        export_runs(**options)


@pytest.mark.slow
def test_titles_and_items_that_may_not_be_shown(runs, tmp_path):
    """Both are kept by the next version; the list acts on what is loaded after it was changed."""
    (tmp_path / "items.csv").write_text('item_id,title\nt0,"Zero, the film"\nt1,One\ns1,A\n')
    (tmp_path / "hidden.txt").write_text("s2\nt3\nunheard-of\n")
    out = tmp_path / "peterrec" / "1"
    shown = {"items": tmp_path / "items.csv", "hidden_items": tmp_path / "hidden.txt"}
    mixed = alone(runs / "books", tmp_path)
    export_runs(runs / "host", [runs / "films"], out, k=30, mixed=mixed, **shown)
    export_runs(base=out.parent, k=29)
    assert problems(out.parent / "2") == []
    titles = {"t0": "Zero, the film", "t1": "One", "s1": "A"}
    for version in (out, out.parent / "2"):
        model = ExportedModel(version)
        answers = [model.predict("films", ["s5"]), model.select("films", ["s5"], k=12)]
        for answer in [*answers, model.similar(["s3"])]:
            for item, title in zip(answer["items"][0], answer["titles"][0]):
                assert title == titles.get(item, "")
        items = answers[0]["items"][0].tolist()
        assert {"t0", "t1"} <= set(items) and not {"s2", "t3", "s5"} & set(items)
        assert answers[1]["items"][0].tolist() == [*items[:12], *[""] * (len(items) - 12)]
        mixed = model.mixed(["s5"], ["books"])["labels"][0]
        assert {"t0", "t1"} <= set(mixed) and not {"s2", "t3", "s5"} & set(mixed)
    hidden = out / "assets" / "hidden_items.txt"
    hidden.write_text("t0\n")
    model = ExportedModel(out)
    items, mixed = model.predict("films", ["s5"])["items"], model.mixed(["s5"], ["books"])["labels"]
    for found in (items[0], mixed[0]):
        assert {"s2", "t3"} <= set(found) and "t0" not in found
    with pytest.raises(InputError, match="`hidden_items` should be a text file that can be read"):
        export_runs(base=out.parent, hidden_items=tmp_path / "nope")
    with pytest.raises(InputError, match="`items` should be a CSV file that can be read"):
        export_runs(base=out.parent, items=tmp_path / "nope")


def expected_next(host, histories, k):
    """What Python answers with the best `k` next items."""
    ids = [padded(host, history, host.next_item_length) for history in histories]
    scores = np.array(host.next_item_scores(np.concatenate(ids)))
    for row, history in enumerate(histories):
        scores[row, np.isin(host.vocabulary.items, history.split())] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return filled(host.vocabulary.items[best], np.take_along_axis(scores, best, axis=1))


def words_of(items):
    """Columns of items: those whose number has the same rest are alike."""
    return [f"group{int(item[1:]) % 3}" for item in items]


@pytest.mark.slow
def test_new_items_by_their_columns(runs, tmp_path, capsys):
    """They are read and recommended; what was there answers as before."""
    known, new = Host.load(runs / "host"), ["n0", "n1"]
    table = {"item_id": [*known.vocabulary.items, *new]}
    table["words"] = words_of(table["item_id"])
    out = tmp_path / "peterrec" / "1"
    tasks = [runs / "films", runs / "tuned"]
    mixed = alone(runs / "age", tmp_path)
    export_runs(runs / "host", tasks, out, k=98, add_items=table, mixed=mixed)
    assert "2 items added after the 96 of the host" in capsys.readouterr().err
    assert problems(out) == []
    model, grown = ExportedModel(out), add_items(known, read_items(table))
    asked = [*HISTORIES, "s1 n0 n1", "n1"]
    found = model.predict("serving_default", asked)
    assert_same(found, expected_next(grown, asked, 98))
    assert set(new) <= set(found["items"][1])
    assert "n0" not in found["items"][-2] and "n0" in model.similar(["s0"])["items"][0]
    # Old histories are answered as without them, and a history of new items is no empty one.
    for name in ("films", "tuned"):
        task = Task.load(runs / name, known)
        length = known.history_length(task.model)
        ids = np.concatenate([padded(known, history, length) for history in HISTORIES])
        places = len(task.labels)
        seen = [history.split() for history in HISTORIES]
        answers = model.predict(name, asked)
        before = {key: values[: len(HISTORIES)] for key, values in answers.items()}
        assert_same(before, filled(*task.recommend(ids, k=places, deny=seen)))
        of_new, of_none = answers["scores"][-1], answers["scores"][HISTORIES.index("")]
        assert not np.allclose(of_new, of_none)
    of_mixed = model.mixed(["s1 n0"], ["age"])
    assert not np.allclose(of_mixed["scores"][0, :3], model.mixed(["s1"], ["age"])["scores"][0, :3])

    # `tuned` has vectors of its own, and so has the new items' from what it learned.
    tuned = Task.load(out / "assets.extra" / "tasks" / "tuned", grown)
    table_of = np.asarray(tuned.model.host.item_embedding.embeddings)[FIRST_ITEM:]
    features = read_items(table)
    wanted = predicted_vectors(features.matrix[:96], table_of[:96], features.matrix[96:])
    np.testing.assert_allclose(table_of[96:], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_next_version_keeps_added_items_and_takes_more(runs, tmp_path):
    known = Host.load(runs / "host").vocabulary.items
    more = tmp_path / "more.csv"
    base = tmp_path / "peterrec"
    table = {"item_id": [*known, "n0"], "words": words_of([*known, "n0"])}
    export_runs(runs / "host", [runs / "tuned"], base / "1", add_items=table)
    more.write_text("item_id,words\ns1,group1\nn0,group0\nn1,group1\n")
    export_runs(base=base, add_items=more, task=[runs / "age"])
    first, second = (ExportedModel(base / version) for version in "12")
    assert [model.description["added_items"] for model in (first, second)] == [1, 2]
    assert first.description["host_at_path"] == second.description["host_at_path"]
    assert_same(second.predict("tuned", ["s1 n0"]), first.predict("tuned", ["s1 n0"]))
    answer = second.select("serving_default", ["s1"], allow="n0 n1")
    assert set(answer["items"][0, :2]) == {"n0", "n1"}
    with pytest.raises(InputError, match="`task` should be of the method patch or head, or"):
        export_runs(base=base, task=[runs / "tuned"], remove_task=["tuned"])
    vectors = base / "2" / "assets.extra" / "added_items" / "vectors.npz"
    arrays = dict(np.load(vectors))
    np.savez(vectors, **{path: array + 1 for path, array in arrays.items()})
    with pytest.raises(InputError, match="`base` should have the added items that were exported"):
        export_runs(base=base, k=3)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (["s0", "s1"], "`add_items` should have items that the host lacks. Received: 2 items, all"),
        (["x", "y"], "`add_items` cannot be used. `items` should have items that the host knows"),
        (["s0", "s0", "n"], "`add_items` cannot be used. .*one row for each item"),
    ],
)
def test_tables_from_which_nothing_can_be_added(runs, tmp_path, items, said):
    table = {"item_id": items, "words": ["a"] * len(items)}
    with pytest.raises(InputError, match=said):
        export_runs(runs / "host", [], tmp_path / "1", add_items=table)
    assert list(tmp_path.iterdir()) == []
