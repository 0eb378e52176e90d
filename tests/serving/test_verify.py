"""`export --check` finds what is wrong with exports and SavedModels broken on purpose."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from serving_samples import ASKED, CLASSES, make_host
from tensorflow.core.protobuf import saved_model_pb2

from keras_peterrec.errors import InputError
from keras_peterrec.server.errors import ServingError
from keras_peterrec.server.loaded_version import LoadedVersion
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.verify import answers
from keras_peterrec.serving.verify.answers import has_c_loader, same_answers
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.serving.verify.verify_export import checks, verify_export
from keras_peterrec.serving.warmup import (
    PATH,
    graphs_as_they_are,
    sample_rows,
    warmup_requests,
    write_warmup,
)
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

pytestmark = pytest.mark.usefixtures("unasked")

OFF = "disable_meta_optimizer"
HISTORY = tf.TensorSpec([None], tf.string, name="history")


@pytest.fixture
def copy(causal_export, tmp_path):
    return shutil.copytree(causal_export.out, tmp_path / "1")


def found(check, path):
    return "\n".join(checks(thorough=True)[check](ExportFolder(path)))


def save(folder, function, spec=HISTORY, name="serving_default", **attributes):
    """A SavedModel of one function, written by TensorFlow alone."""
    module = tf.Module()
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    concrete = tf.function(function, autograph=False).get_concrete_function(spec)
    tf.saved_model.save(module, str(folder), signatures={name: concrete})
    return folder


@pytest.mark.parametrize("was_off", [False, True])
def test_graphs_as_they_are_for_a_while(was_off):
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({**before, OFF: was_off})
    with graphs_as_they_are():
        assert tf.config.optimizer.get_experimental_options()[OFF] is True
    assert tf.config.optimizer.get_experimental_options()[OFF] is was_off
    tf.config.optimizer.set_experimental_options(before)


def test_nothing_is_wrong_with_an_export(causal_export):
    assert verify_export(causal_export.out) == []
    assert [*checks(), "TensorFlow alone"] == [*checks(thorough=True)]


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_nothing_is_wrong_with_an_export_as_a_server_optimizes_it(causal_export):
    assert verify_export(causal_export.out, thorough=True) == []


def test_the_quick_checks_find_weights_cut_short(copy, monkeypatch):
    """Without the loader in another process, whose words `test_the_loaders_words` asks for."""
    monkeypatch.setattr(answers, "has_c_loader", lambda: False)
    data = next((copy / "variables").glob("variables.data-*"))
    data.write_bytes(data.read_bytes()[:-40])
    problems = verify_export(copy)
    assert problems and all("cannot be checked" in p or "says" in p for p in problems)


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
    problems = verify_export(copy)
    assert problems[0] == said
    assert {problem.split(":")[0] for problem in problems} == {said.split(":")[0]}


def test_assets_cut_short(copy):
    for name in ("vocabulary.txt", "films_targets.txt"):
        path = copy / "assets" / name
        path.write_text("\n".join(path.read_text().splitlines()[:5]))
    said = "assets: assets/{} is not what was exported"
    assert verify_export(copy) == [said.format("films_targets.txt"), said.format("vocabulary.txt")]
    with pytest.raises(InputError, match="assets/films_targets.txt, assets/vocabulary.txt miss"):
        ExportedModel(copy)
    with pytest.raises(ServingError, match="not what was exported: assets/films_targets.txt"):
        LoadedVersion(copy, 1)
    # An older export, which noted no hashes.
    described = copy / "assets.extra" / "peterrec.json"
    description = json.loads(described.read_text())
    description.pop("assets")
    described.write_text(json.dumps(description))
    assert found("assets", copy) == ""


def test_lost_bundles_and_description(copy):
    shutil.rmtree(copy / "assets.extra" / "tasks" / "films")
    assert "films: its task bundle assets.extra/tasks/films is missing" in found(
        "task bundles", copy
    )
    (copy / "assets.extra" / "peterrec.json").unlink()
    assert found("task bundles", copy) == "assets.extra/peterrec.json is missing"


@pytest.mark.slow
def test_warmup_that_is_missing_or_fails(copy):
    write_warmup(copy, [("films", {"history": ["a"]}), ("gone", {"history": ["a"]})])
    said = found("warm-up", copy)
    assert "embed: has no warm-up request\n" in said
    assert "films: has no warm-up request\n" not in said
    assert "gone: its warm-up request asks a signature that the model does not have" in said
    write_warmup(copy, [("films_classify", {"inputs": ["no example"]})] * 1001)
    said = found("warm-up", copy)
    assert "at most 1000 warm-up requests. Found: 1001" in said
    assert said.count("films_classify: its warm-up request fails") == 1
    (copy / PATH).unlink()
    assert found("warm-up", copy).count("has no warm-up request") == len(ASKED)


def test_signatures_that_a_server_could_not_answer(tmp_path):
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    path = save(tmp_path / "1", lambda x: {"y": tf.cast(x, tf.float16), "n": tf.size(x)}, spec)
    said = found("signatures", path)
    assert "serving_default: its input should be named history. Found: x" in said
    assert "x should be string [B]. Found: float [-1, 3]" in said
    assert "y should be float32, int32 or string, [B, ...]. Found: half [-1, 3]" in said
    assert "n should be float32, int32 or string, [B, ...]. Found: int32" in said
    path = save(tmp_path / "2", lambda history: {"items": history}, name="films_classify")
    said = found("signatures", path)
    assert "serving_default: is missing" in said
    assert "films_classify: its input should be named inputs" in said
    assert "films_classify: its outputs should be named classes, scores. Found: items" in said


@pytest.mark.parametrize(
    ("name", "output", "shape", "said"),
    [
        ("spend_regress", "outputs", [-1], ""),
        ("spend_regress", "outputs", [-1, 1], ""),
        ("spend_regress", "outputs", [-1, 2], "float32 [B] or [B, 1]. Found: float [-1, 2]"),
        ("spend_regress", "value", [-1], "its output should be named outputs. Found: value"),
        ("sports_classify", "scores", [-1], "scores should be float32 [B, n]. Found: float [-1]"),
        ("spend", "value", [-1], ""),  # a signature for `:predict` may answer anything
    ],
)
def test_signatures_for_regress_and_classify(tmp_path, name, output, shape, said):
    key = "history" if name == "spend" else "inputs"

    def answer(rows):
        lengths = tf.cast(tf.strings.length(rows), tf.float32)
        return {output: tf.tile(tf.reshape(lengths, [-1, *[1] * len(shape[1:])]), [1, *shape[1:]])}

    path = save(tmp_path / "1", answer, tf.TensorSpec([None], tf.string, name=key), name=name)
    lines = found("signatures", path).splitlines()
    assert lines.pop(0) == "serving_default: is missing"
    assert "\n".join(lines).startswith(f"{name}: " if said else "")
    assert any(said in line for line in lines) if said else lines == []


@pytest.mark.slow
def test_outputs_of_any_name(tmp_path):
    """Several labels and a number, which the checks know nothing about."""

    def answer(history):
        lengths = tf.cast(tf.strings.length(history), tf.float32)
        scores, order = tf.math.top_k(tf.sigmoid(lengths[:, None] - [1.0, 5.0, 9.0]), 3)
        labels = tf.gather(tf.constant(["news", "sports", "films"]), order)
        return {"labels": labels, "scores": scores, "value": lengths}

    path = save(tmp_path / "1", answer)
    folder = ExportFolder(path)
    rows = sample_rows("serving_default", ["a b", "", "c"])
    write_warmup(path, warmup_requests({"serving_default": rows}))
    assert set(folder.answer("serving_default", **folder.samples("serving_default"))) == {
        *("labels", "scores", "value")
    }
    for thorough in (False, True):
        problems = verify_export(path, thorough)
        assert problems == ["task bundles: assets.extra/peterrec.json is missing"]


def test_examples_are_made_for_a_regression(tmp_path):
    def answer(inputs):
        rows = tf.io.parse_example(inputs, {"history": tf.io.RaggedFeature(tf.string)})
        return {"outputs": tf.cast(rows["history"].row_lengths(), tf.float32)}

    spec = tf.TensorSpec([None], tf.string, name="inputs")
    folder = ExportFolder(save(tmp_path / "1", answer, spec, name="spend_regress"))
    answer = folder.answer("spend_regress", **folder.samples("spend_regress"))
    assert answer["outputs"].tolist() == [2, 0, 1]  # without warm-up requests, too
    assert found("batches", folder.path) == ""


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

    assert "needs the Python process" in found("operations", save(tmp_path / "2", by_python))


def test_operations_that_exports_do_not_need(tmp_path):
    def rare(history):
        return {"y": tf.math.lgamma(tf.cast(tf.strings.length(history), tf.float32))}

    path = save(tmp_path / "1", rare)
    assert found("operations", path) == ""  # not one of our exports
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "peterrec.json").write_text("{}")
    said = "operation Lgamma is not one that our exports use"
    assert found("operations", path).startswith(said)


def test_weights_stored_twice(tmp_path):
    table = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")
    one, other, zeros, none = (tf.Variable(v) for v in (table, table, 0 * table, 0 * table))

    def answer(history):
        return {"y": tf.matmul(one, other, transpose_b=True)[: tf.size(history)]}

    path = save(tmp_path / "1", answer, one=one, other=other, zeros=zeros, none=none)
    assert found("weights", path) == "stored more than once: one, other"


@pytest.mark.slow
def test_tasks_that_stayed_where_one_seed_began_are_no_copies(tmp_path):
    host, kind, tasks = make_host(), Classification(CLASSES), {}
    for name in ("gender", "topics"):
        keras.utils.set_random_seed(0)
        model = build_task(host.backbone, kind.new_head(), "patch", "item_lora:64")
        tasks[name] = Task(model, "patch", kind)
    first, second = (map(np.asarray, task.model.trainable_variables) for task in tasks.values())
    assert any(a.size > 64 and a.std() > 0 and np.array_equal(a, b) for a, b in zip(first, second))
    export(host, tasks, tmp_path / "1")
    assert found("weights", tmp_path / "1") == ""


@pytest.mark.slow
def test_a_tasks_own_copy_of_the_host_is_its_own(tmp_path):
    host = make_host()
    kind = Classification(CLASSES)
    model = build_task(host.backbone, kind.new_head(), "last1")
    export(host, {"own": Task(model, "last1", kind)}, tmp_path / "1")
    assert found("weights", tmp_path / "1") == ""


def test_answers_that_depend_on_the_batch(tmp_path):
    def leaking(history):
        lengths = tf.cast(tf.strings.length(history), tf.float32)
        return {"scores": (lengths / tf.reduce_sum(1 + lengths))[:, None]}

    said = found("batches", save(tmp_path / "1", leaking))
    assert "serving_default: its answer in a batch is not its answer alone" in said
    assert "serving_default: its answer changes when the batch is filled up" in said
    assert "order of the rows" not in said


@pytest.mark.skipif(not has_c_loader(), reason="this TensorFlow brings no libtensorflow_cc.so.2")
def test_the_loaders_words(copy):
    content = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
    content.meta_graphs[0].graph_def.node[0].op = "NoSuchOperation"
    (copy / "saved_model.pb").write_bytes(content.SerializeToString())
    assert "TensorFlow's C loader says: " in found("C loader", copy)


@pytest.mark.skipif(not has_c_loader(), reason="this TensorFlow brings no libtensorflow_cc.so.2")
def test_outputs_that_the_c_loader_cannot_read(tmp_path):
    long = lambda history: {"n": tf.cast(tf.strings.length(history), tf.int64)}
    path = save(tmp_path / "1", long)
    said = "an output should be float32, int32 or string. Found: data type 9"
    assert found("C loader", path) == f"TensorFlow's C loader says: {said}"


def test_what_breaks_a_check_is_a_line_too(copy):
    (copy / "saved_model.pb").write_bytes(b"\x0a\x7f")
    problems = verify_export(copy)
    assert problems and all("\n" not in problem for problem in problems)
    assert problems[0].startswith("assets: cannot be checked: DecodeError")


@pytest.mark.parametrize("names", [("items", "scores"), ("labels", "weights")])
def test_same_answers(names):
    def answer(strings, numbers):
        strings, numbers = np.array([strings], object), np.array([numbers], "float32")
        return dict(zip(names, (strings, numbers)))

    one = answer(["a", "b", "c"], [0.9, 0.5, 0.5])
    assert same_answers(one, answer(["a", "c", "b"], [0.9, 0.5, 0.500001]))
    assert not same_answers(one, answer(["b", "a", "c"], [0.9, 0.5, 0.5]))
    assert not same_answers(one, answer(["a", "b", "c"], [0.9, 0.6, 0.5]))
    assert not same_answers(one, answer(["a", "b"], [0.9, 0.5]))
    assert not same_answers(one, {names[0]: one[names[0]]})


def test_same_answers_of_numbers_and_of_strings_alone():
    value, name = np.array([1.5, 2], "float32"), np.array(["a", "b"], object)
    assert same_answers({"value": value}, {"value": value + 1e-6})
    assert not same_answers({"value": value}, {"value": value[::-1]})
    assert same_answers({"name": name, "value": value}, {"name": name, "value": value})
    equal = np.ones(2, "float32")  # of different users: nothing to change places with
    assert not same_answers({"name": name, "value": equal}, {"name": name[::-1], "value": equal})


def test_noise_is_measured_beside_an_outputs_largest_number():
    """A number of a user is a mean and a deviation times z: its noise is that of the deviation."""
    value = np.array([0.1, 1000], "float32")
    assert same_answers({"value": value}, {"value": value + [0.001, 0]})
    assert not same_answers({"value": value}, {"value": value + [0.1, 0]})
    scores = np.array([[0.5, tf.float32.min]], "float32")  # the lowest float32: no item is left
    assert not same_answers({"scores": scores}, {"scores": scores + [[0.1, 0]]})
