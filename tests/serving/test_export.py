"""One SavedModel for a host and its tasks."""

import dataclasses
import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from serving_samples import (
    ASKED,
    HISTORIES,
    NAMES,
    TOPICS,
    assert_same,
    expected,
    make_host,
    make_kind,
    make_task,
    without_warmup,
)
from slow_cases import slow
from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.errors import InputError
from keras_peterrec.keras_internals import stored_variables
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.serving import export as export_module
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.verify.contents import check_operations
from keras_peterrec.serving.verify.export_folder import ExportFolder


@pytest.fixture(scope="module")
def host():
    return make_host()


@pytest.fixture(scope="module")
def film_task(host):
    return make_task(host)


@pytest.fixture
def model(exported):
    return exported.model


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_pythons_alone_and_batched(exported, model, name):
    reference = expected(exported, name, HISTORIES)
    assert_same(model.predict(name, HISTORIES), reference)
    for row, history in enumerate(HISTORIES):
        alone = {key: values[row : row + 1] for key, values in reference.items()}
        assert_same(model.predict(name, [history]), alone)


def test_a_masked_host_with_a_table_of_its_own_answers_as_python_does(tmp_path):
    """The slow `masked_export` has a task of each kind."""
    host = make_host(causal=False, tied=False)
    asked = SimpleNamespace(host=host, tasks={"films": make_task(host)})
    with without_warmup():
        report = export(host, asked.tasks, tmp_path / "1", k=10)
    assert report["signatures"] == [
        *("serving_default", "embed", "films", "serving_default_select", "films_select"),
        *("similar", "known", "serving_default_classify", "films_classify"),
    ]
    model = ExportedModel(tmp_path / "1")
    for name in ("serving_default", "films"):
        reference = expected(asked, name, HISTORIES)
        assert_same(model.predict(name, HISTORIES), reference)
        alone = {key: values[:1] for key, values in reference.items()}
        assert_same(model.predict(name, HISTORIES[:1]), alone)


def test_patches_and_histories_matter(model):
    films, tuned = (model.predict(name, HISTORIES)["scores"] for name in ("films", "tuned"))
    assert np.abs(np.diff(films, axis=0)).max() > 1e-2
    assert np.abs(films[:, :4] - tuned[:, :4]).max() > 1e-2


def test_seen_items_are_left_out_beyond_max_length(model):
    history = "t0 t1 s2 " + " ".join(f"s{n}" for n in range(20, 60))
    assert not {"t0", "t1", "s2"} & set(model.predict("films", [history])["items"][0])
    # The same last items without the first ones: nothing is left out.
    everything = model.predict("tuned", [" ".join(f"s{n}" for n in range(20, 60))])
    assert "" not in everything["items"][0]
    answer = model.predict("tuned", [history])
    assert list(answer["items"][0, -3:]) == [""] * 3
    assert (answer["scores"][0, -3:] == np.finfo("float32").min).all()
    assert np.isfinite(answer["scores"]).all()
    assert not set(model.predict("serving_default", [history])["items"][0]) & set(history.split())


def test_shapes_types_and_no_histories(model):
    assert model.predict("films", ["s1"])["items"].shape == (1, 10)
    assert model.predict("tuned", ["s1"])["items"].shape == (1, 8)  # the whole catalogue
    for name in NAMES:
        for values in model.predict(name, []).values():
            assert len(values) == 0
    shapes = {
        "age-group.v2": {"classes": (2, 3), "scores": (2, 3)},
        "topics": {"labels": (2, 4), "scores": (2, 4)},
        "spend": {"value": (2,)},
    }
    for name, wanted in shapes.items():
        answer = model.predict(name, ["s1", ""])
        counts = {"events": (2,), "known_events": (2,)}
        assert {key: values.shape for key, values in answer.items()} == wanted | counts
        for key, values in answer.items():
            kind = np.int32 if key in counts else np.float32
            assert values.dtype == (object if key in ("classes", "labels") else kind)


def test_every_label_is_answered(model):
    """Labels come by falling probability, and one that is called as a seen item is not left out."""
    answer = model.predict("topics", HISTORIES)
    assert all(set(row) == set(TOPICS) for row in answer["labels"])
    assert (np.diff(answer["scores"]) <= 0).all()
    assert ((answer["scores"] > 0) & (answer["scores"] < 1)).all()
    assert np.abs(answer["scores"].sum(axis=1) - 1).max() > 0.1  # no shares of one whole


def test_unknown_items_are_as_good_as_left_out(model):
    unknown = " ".join(f"new{n}" for n in range(50))
    for name in NAMES:
        wanted = model.predict(name, ["s1 s2", ""])
        for texts in (["x s1 y s2 z", "?"], [f"s1 s2 {unknown}", unknown]):
            found = model.predict(name, texts)
            assert found.keys() == wanted.keys()
            for key, values in wanted.items():
                if key == "events":
                    assert (found[key] > values).all()
                elif values.dtype == object:
                    np.testing.assert_array_equal(found[key], values)
                else:
                    np.testing.assert_allclose(found[key], values, atol=1e-5)


def test_each_weight_is_stored_once(exported):
    stored = dict(tf.train.list_variables(str(exported.out / "variables" / "variables")))
    shapes = [shape for path, shape in stored.items() if not path.startswith("_CHECKPOINTABLE")]
    # All tasks patch the host but tuned, which brings a copy of it.
    host = exported.host
    weights = [*host.backbone.weights, *host.pretrainer.linear.weights]
    if not host.pretrainer.tied:
        weights.append(host.pretrainer.output_table.embeddings)
    for task in exported.tasks.values():
        weights += [w for w in task.model.weights if "seed" not in w.path]
    # And the length of each item's vector, for `similar`.
    wanted = [*(tuple(w.shape) for w in stored_variables(weights)), (len(host.vocabulary.items),)]
    assert sorted(map(tuple, shapes)) == sorted(wanted)
    parameters = sum(int(np.prod(shape)) for shape in wanted)
    assert exported.report["parameters"] == parameters
    data = next((exported.out / "variables").glob("variables.data-*")).stat().st_size
    assert 4 * parameters <= data < 4 * parameters + 40_000  # and the names


def test_report_and_description(exported):
    files = [path for path in exported.out.rglob("*") if path.is_file()]
    assert exported.report == {
        "out": str(exported.out),
        "signatures": ASKED,
        "bytes": sum(path.stat().st_size for path in files),
        "parameters": exported.report["parameters"],
    }
    description = json.loads((exported.out / "assets.extra" / "peterrec.json").read_text())
    assert description == exported.model.description
    assert description["host"] == exported.host.fingerprint()
    assert description["format_version"] == 5
    kinds = {name: (task["kind"], task["unit"]) for name, task in description["tasks"].items()}
    assert kinds == {
        "films": ("recommendation", "score"),
        "age-group.v2": ("classification", "probability"),
        "tuned": ("recommendation", "score"),
        "topics": ("multilabel", "probability"),
        "spend": ("regression", "number"),
    }
    assert {p.name for p in (exported.out / "assets").iterdir()} == {
        "vocabulary.txt",
        "films_targets.txt",
        "tuned_targets.txt",
    }


def test_graph_is_small_and_needs_no_compiler(exported):
    saved = saved_model_pb2.SavedModel.FromString((exported.out / "saved_model.pb").read_bytes())
    library = saved.meta_graphs[0].graph_def.library.function
    assert not any(node.op.startswith("Xla") for f in library for node in f.node_def)
    assert not any(f.attr["_XlaMustCompile"].b for f in library)
    answering = [f for f in library if "__traced_" not in f.signature.name]
    constants = [node for f in answering for node in f.node_def if node.op == "Const"]
    assert max(node.ByteSize() for node in constants) < 300  # no strings of a vocabulary


def test_graph_needs_no_new_operations(exported):
    assert check_operations(ExportFolder(exported.out)) == []


def test_the_graph_holds_no_weights(exported):
    graph = ExportFolder(exported.out).meta_graph.graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    constants = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
    assert constants and max(len(tensor.tensor_content) for tensor in constants) < 1_024


@pytest.mark.slow
def test_versions_of_other_hosts_live_side_by_side(causal_export, tmp_path):
    other = make_host(seed=7)
    other.vocabulary = Vocabulary([f"o{n}" for n in range(96)])
    export(other, {}, tmp_path / "1")
    first, second = causal_export.model, ExportedModel(tmp_path / "1")
    assert first.predict("serving_default", [""])["items"][0, 0][0] in "st"
    assert second.predict("serving_default", [""])["items"][0, 0][0] == "o"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "serving_default",
        "embed",
        "__x",
        "_x",
        "a b",
        "a/b",
        "é",
        "a:b",
        "-a",
        3,
        "a_classify",
        "a_regress",
        "a_step",
        "mixed",
    ],
)
def test_names_refused(host, film_task, tmp_path, name):
    with pytest.raises(InputError, match="`tasks` should have names"):
        export(host, {name: film_task}, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_by_case_only_refused(host, film_task, tmp_path):
    with pytest.raises(InputError, match="differ by more than upper and lower case"):
        export(host, {"films": film_task, "Films": film_task}, tmp_path / "1")


def test_tasks_that_do_not_fit_refused(host, film_task, tmp_path):
    with pytest.raises(InputError, match="built on `host` itself.*'films', built on another"):
        export(make_host(), {"films": film_task}, tmp_path / "1")
    fewer = dataclasses.replace(film_task, kind=make_kind("recommendation", items=8))
    with pytest.raises(InputError, match="a RecommenderHead with 8 outputs.*Received: .* with 30;"):
        export(host, {"films": fewer}, tmp_path / "1")
    other = dataclasses.replace(film_task, kind=make_kind("regression"))
    with pytest.raises(InputError, match="head of a regression task, a LinearHead with 1 outputs"):
        export(host, {"films": other}, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
def test_k_refused(host, tmp_path, k):
    with pytest.raises(InputError, match="`k` should be a positive integer"):
        export(host, {}, tmp_path / "1", k=k)


def test_out_refused(host, tmp_path):
    with pytest.raises(InputError, match="version number"):
        export(host, {}, tmp_path / "latest")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "kept").write_text("kept")
    with pytest.raises(InputError, match="which exists"):
        export(host, {}, tmp_path / "1")
    with pytest.raises(InputError, match="can be written"):
        export(host, {}, tmp_path / "1" / "kept" / "2")
    assert (tmp_path / "1" / "kept").read_text() == "kept"


@pytest.mark.parametrize("step", ["_replay_warmup", *slow("write_warmup", "write_json")])
def test_a_failure_half_way_leaves_nothing(host, tmp_path, monkeypatch, step):
    def fail(*arguments):
        assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == []
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, step, fail)
    with pytest.raises(KeyboardInterrupt):
        export(host, {}, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_swept_by_that_of_any_version(tmp_path):
    left = tmp_path / f".1.{'0' * 32}.writing"
    (left / "variables").mkdir(parents=True)
    with export_module._published(tmp_path / "2"):
        assert not left.exists()
    assert os.listdir(tmp_path) == ["2"]


def test_out_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(InputError, match="appeared meanwhile"):
        with export_module._published(tmp_path / "1") as folder:
            (folder / "ours").write_text("ours")
            (tmp_path / "1").mkdir()
            (tmp_path / "1" / "theirs").write_text("theirs")
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
    assert os.listdir(tmp_path / "1") == ["theirs"]


def test_reader_refuses_what_is_no_whole_version(causal_export, tmp_path):
    with pytest.raises(InputError, match="`model` should be a version directory"):
        ExportedModel(tmp_path)
    for n, lost in enumerate(("assets.extra", "variables", "assets")):
        half = tmp_path / str(n)
        shutil.copytree(causal_export.out, half)
        shutil.rmtree(half / lost)
        with pytest.raises(InputError, match="^`model` should .* Received: [^\n]*$"):
            ExportedModel(half)
    broken = shutil.copytree(causal_export.out, tmp_path / "broken")
    (broken / "saved_model.pb").write_bytes(b"\x0a\x7f")
    with pytest.raises(InputError, match="`model` should be a whole SavedModel"):
        ExportedModel(broken)


def test_reader_refuses_other_requests(causal_export):
    model = causal_export.model
    with pytest.raises(InputError, match="of age-group.v2, embed, films, serving_default, spend,"):
        model.predict("nope", ["s1"])
    for histories in (3, [1], [[[1]]], None):
        with pytest.raises(InputError, match="`histories` should "):
            model.predict("films", histories)
    odd = model.predict("films", ["s1 \udcff"])
    assert_same(odd, model.predict("films", ["s1 ?"]))
