"""What `export --check` finds, in exports and SavedModels that are broken on purpose."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from serving_samples import CLASSES, make_host
from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.errors import InputError
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.serving.checks.answer_checks import same_answers
from keras_peterrec.serving.checks.check_list import CHECKS, run_checks
from keras_peterrec.serving.checks.export_folder import ExportFolder
from keras_peterrec.serving.checks.loaders import has_c_loader
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.server.errors import ServingError
from keras_peterrec.serving.server.loaded_version import LoadedVersion
from keras_peterrec.serving.warmup import PATH, write_warmup
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

HISTORY = tf.TensorSpec([None], tf.string, name="history")


@pytest.fixture
def copy(causal_export, tmp_path):
    return shutil.copytree(causal_export.out, tmp_path / "1")


def found(check, path):
    return "\n".join(CHECKS[check](ExportFolder(path)))


def save(folder, function, spec=HISTORY, name="serving_default", **attributes):
    """A SavedModel of one function, written by TensorFlow alone."""
    module = tf.Module()
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    concrete = tf.function(function, autograph=False).get_concrete_function(spec)
    tf.saved_model.save(module, str(folder), signatures={name: concrete})
    return folder


def test_nothing_is_wrong_with_an_export(causal_export):
    assert run_checks(causal_export.out) == []


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("saved_model.pb", "files: saved_model.pb is missing"),
        ("variables", "files: variables/variables.index is missing"),
        ("assets/films_targets.txt", "assets: assets/films_targets.txt is missing"),
    ],
)
def test_lost_files_end_the_checks(copy, lost, said):
    path = copy / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    problems = run_checks(copy)
    assert problems[0] == said
    assert {problem.split(":")[0] for problem in problems} == {said.split(":")[0]}


def test_assets_cut_short(copy):
    for name in ("vocabulary.txt", "films_targets.txt"):
        path = copy / "assets" / name
        path.write_text("\n".join(path.read_text().splitlines()[:5]))
    said = "assets: assets/{} is not what was exported"
    assert run_checks(copy) == [said.format("films_targets.txt"), said.format("vocabulary.txt")]
    with pytest.raises(InputError, match="assets/films_targets.txt, assets/vocabulary.txt miss"):
        ExportedModel(copy)
    with pytest.raises(ServingError, match="not what was exported: assets/films_targets.txt"):
        LoadedVersion(copy, 1)
    # An export written before they were noted.
    described = copy / "assets.extra" / "peterrec.json"
    description = json.loads(described.read_text())
    description.pop("assets")
    described.write_text(json.dumps(description))
    assert found("assets", copy) == ""
    LoadedVersion(copy, 1).close()


def test_lost_bundles_and_description(copy):
    shutil.rmtree(copy / "assets.extra" / "tasks" / "films")
    assert "films: its task bundle assets.extra/tasks/films is missing" in found(
        "task bundles", copy
    )
    (copy / "assets.extra" / "peterrec.json").unlink()
    assert found("task bundles", copy) == "assets.extra/peterrec.json is missing"


def test_warmup_that_is_missing_or_fails(copy):
    write_warmup(copy, [("films", {"history": ["a"]}), ("gone", {"history": ["a"]})])
    said = found("warm-up", copy)
    assert "embed: has no warm-up request\n" in said
    assert "films: has no warm-up request of a batch of 8, 32\n" in said
    assert "gone: its warm-up request is no signature of the model" in said
    write_warmup(copy, [("films_classify", {"inputs": ["no example"]})] * 1001)
    said = found("warm-up", copy)
    assert "at most 1000 warm-up requests. Found: 1001" in said
    assert said.count("films_classify: its warm-up request fails") == 1
    (copy / PATH).unlink()
    assert found("warm-up", copy).count("has no warm-up request") == 9


def test_signatures_that_a_server_could_not_answer(tmp_path):
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    path = save(tmp_path / "1", lambda x: {"y": tf.cast(x, tf.float16), "n": tf.size(x)}, spec)
    said = found("signatures", path)
    assert "serving_default: its input should be named history. Found: x" in said
    assert "x should be string [B]. Found: float [-1, 3]" in said
    assert "y should be float32 or string, [B, ...]. Found: half [-1, 3]" in said
    assert "n should be float32 or string, [B, ...]. Found: int32" in said
    path = save(tmp_path / "2", lambda history: {"items": history}, name="films_classify")
    said = found("signatures", path)
    assert "serving_default: is missing" in said
    assert "films_classify: its input should be named inputs" in said
    assert "films_classify: its outputs should be classes and scores. Found: items" in said


def test_operations_of_a_compiler_or_of_python(tmp_path):
    @tf.function(jit_compile=True)
    def compiled(x):
        return tf.nn.conv1d(x, tf.ones([3, 1, 2]), 1, "SAME")  # grouped

    def by_compiler(history):
        lengths = tf.cast(tf.strings.length(history), tf.float32)
        return {"y": compiled(tf.tile(lengths[:, None, None], [1, 4, 2]))[:, :, 0]}

    assert "needs XLA (jit_compile)" in found("operations", save(tmp_path / "1", by_compiler))

    def by_python(history):
        return {"y": tf.reshape(tf.numpy_function(len, [history], tf.int64), [1])}

    assert "needs this Python" in found("operations", save(tmp_path / "2", by_python))


def test_operations_that_exports_do_not_need(tmp_path):
    def rare(history):
        return {"y": tf.math.lgamma(tf.cast(tf.strings.length(history), tf.float32))}

    path = save(tmp_path / "1", rare)
    assert found("operations", path) == ""  # another's SavedModel may need what it likes
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "peterrec.json").write_text("{}")
    said = "operation Lgamma is none that exports are known to need"
    assert found("operations", path).startswith(said)


def test_weights_stored_twice(tmp_path):
    table = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")
    one, other, zeros, none = (tf.Variable(v) for v in (table, table, 0 * table, 0 * table))

    def answer(history):
        return {"y": tf.matmul(one, other, transpose_b=True)[: tf.size(history)]}

    path = save(tmp_path / "1", answer, one=one, other=other, zeros=zeros, none=none)
    assert found("weights", path) == "stored more than once: one, other"


def test_a_tasks_own_copy_of_the_host_is_its_own(tmp_path):
    host = make_host()
    model = build_task(host.backbone, ClassifierHead(len(CLASSES)), "last1")
    export(host, {"own": Task(model, "last1", classes=CLASSES)}, tmp_path / "1")
    assert found("weights", tmp_path / "1") == ""


def test_answers_that_depend_on_the_batch(tmp_path):
    def leaking(history):
        lengths = tf.cast(tf.strings.length(history), tf.float32)
        return {"scores": (lengths / tf.reduce_sum(1 + lengths))[:, None]}

    said = found("batches", save(tmp_path / "1", leaking))
    assert "serving_default: answers otherwise in a batch than alone" in said
    assert "serving_default: answers otherwise in a batch that was filled up" in said
    assert "another order" not in said


@pytest.mark.skipif(not has_c_loader(), reason="this TensorFlow brings no libtensorflow_cc.so.2")
def test_the_loaders_words(copy):
    content = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
    content.meta_graphs[0].graph_def.node[0].op = "NoSuchOperation"
    (copy / "saved_model.pb").write_bytes(content.SerializeToString())
    assert "TensorFlow's C loader says: " in found("C loader", copy)


def test_what_breaks_a_check_is_a_line_too(copy):
    (copy / "saved_model.pb").write_bytes(b"\x0a\x7f")
    problems = run_checks(copy)
    assert problems and all("\n" not in problem for problem in problems)
    assert problems[0].startswith("assets: cannot be checked: DecodeError")


def test_same_answers():
    def answer(items, scores):
        return {"items": np.array([items], object), "scores": np.array([scores], "float32")}

    one = answer(["a", "b", "c"], [0.9, 0.5, 0.5])
    assert same_answers(one, answer(["a", "c", "b"], [0.9, 0.5, 0.500001]))
    assert not same_answers(one, answer(["b", "a", "c"], [0.9, 0.5, 0.5]))
    assert not same_answers(one, answer(["a", "b", "c"], [0.9, 0.6, 0.5]))
    assert not same_answers(one, answer(["a", "b"], [0.9, 0.5]))
    assert not same_answers(one, {"items": one["items"]})
