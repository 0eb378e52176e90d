"""Models of strangers: what may do more than compute is refused before anything of it runs."""

import json
import os
import shutil

import pytest
import tensorflow as tf
from slow_cases import slow
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from keras_peterrec import cli
from keras_peterrec.errors import InputError
from keras_peterrec.server.errors import ServingError
from keras_peterrec.server.loaded_version import LoadedVersion
from keras_peterrec.serving.export_files import FORMAT_VERSION
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.graph_safety import unsafe_part
from keras_peterrec.serving.operations import HARMLESS, OF_EXPORTS, READERS, WRITERS
from keras_peterrec.serving.verify.verify_export import verify_export

TEXT = tf.TensorSpec([None], tf.string, name="history")


class Initialized(tf.saved_model.experimental.TrackableResource):
    """Does something whenever the model that it is a part of is loaded."""

    def __init__(self, do):
        super().__init__()
        self.do = do
        assert self.resource_handle is not None  # made when it is asked for

    def _create_resource(self):
        return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self):
        self.do()


def save(path, answer, **attributes):
    """Saves a model of one signature."""
    model = tf.Module()
    model.answer = tf.function(lambda history: {"y": answer(history)}, [TEXT], autograph=False)
    for name, value in attributes.items():
        setattr(model, name, value)
    tf.saved_model.save(model, str(path), {"serving_default": model.answer})
    return path


def same(history):
    return tf.identity(history)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model that only computes, with a table of its own text file."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "words.txt").write_text("a\nb\n")
    source = tf.lookup.TextFileInitializer(
        str(folder / "words.txt"), tf.string, 0, tf.int64, 1 - 2, delimiter=" "
    )
    table = tf.lookup.StaticHashTable(source, -1)
    weight = tf.Variable(["w"])

    def answer(history):
        return tf.strings.join([history, weight, tf.strings.as_string(table.lookup(history))])

    return save(folder / "1", answer, table=table, weight=weight)


@pytest.fixture
def edited(plain, tmp_path):
    """A function that copies that model with another graph: `edit(meta graph, graph)`."""

    def make(edit):
        path = shutil.copytree(plain, tmp_path / "1")
        content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        edit(content.meta_graphs[0], content.meta_graphs[0].graph_def)
        (path / "saved_model.pb").write_bytes(content.SerializeToString())
        return path

    return make


def answer_function(graph):
    return next(f for f in graph.library.function if "signature_wrapper" in f.signature.name)


def initializer(graph):
    return next(f for f in graph.library.function if "initializer" in f.signature.name)


def test_what_computes_is_loaded(plain):
    assert unsafe_part(plain) is None
    LoadedVersion(plain, 1).close()


@pytest.mark.parametrize("exported", ["causal_export", *slow("masked_export")])
def test_exports_stay_inside_the_list(exported, request):
    """An operation that is needed from now on belongs into `serving/operations.py`."""
    path = request.getfixturevalue(exported).out
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    functions = {f.signature.name for f in graph.library.function}
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    assert {node.op for node in nodes} - functions - OF_EXPORTS == set()
    assert unsafe_part(path) is None


def test_the_list_has_no_mistakes():
    unknown = [name for name in OF_EXPORTS | HARMLESS if op_def_registry.get(name) is None]
    assert unknown == []
    stateful = {name for name in HARMLESS if op_def_registry.get(name).is_stateful}
    assert stateful == {  # they look at or change the model's own variables and tables, or check
        *("AnonymousHashTable", "AssignAddVariableOp", "AssignSubVariableOp", "Case"),
        *("CheckNumerics", "CheckNumericsV2", "InitializeTableV2", "LookupTableSizeV2"),
        *("ResourceGatherNd", "ResourceScatterAdd", "ResourceScatterUpdate", "VariableShape"),
    }
    assert HARMLESS.isdisjoint({*READERS, *WRITERS, "ReadFile", "MatchingFiles", "ImmutableConst"})


def test_an_initializer_that_writes_never_runs(tmp_path, capfd):
    """In `export --check`, `predict`, `serve` and Python; trusted, it does."""
    planted = tmp_path / "planted.txt"
    resource = Initialized(lambda: tf.io.write_file(str(planted), "owned"))
    path = save(tmp_path / "base" / "1", same, resource=resource)
    (path / "assets.extra").mkdir()
    described = {"format_version": FORMAT_VERSION, "tasks": {}}
    (path / "assets.extra" / "peterrec.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="WriteFile in what initializes it[^\n]*$"):
        ExportedModel(path)
    with pytest.raises(ServingError, match="WriteFile"):
        LoadedVersion(path, 1)
    problems = verify_export(path)
    assert any(p.startswith("safety: ") and "WriteFile" in p for p in problems)
    assert problems[-1].startswith("safety: ")  # and nothing is asked
    for words in (
        ["predict", "--model", path, "--history", "a"],
        ["serve", "--model-base-path", path.parent, "--port", 0, "--grpc-port", -1],
        ["export", "--check", path],
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        assert ended.value.code in (1, 2)
        out, errors = capfd.readouterr()
        assert "WriteFile" in out + errors and "--trust" in out + errors
        assert "Traceback" not in errors
    assert not planted.exists()
    ExportedModel(path, trust=True)
    assert planted.read_text() == "owned"


def printing(history):
    with tf.control_dependencies([tf.print("owned", output_stream="file:///tmp/owned.txt")]):
        return tf.identity(history)


def deeply(history):
    empty = tf.size(history) == 0
    return [tf.cond(empty, lambda: history, lambda: tf.map_fn(tf.io.read_file, history))]


def next_line():
    return tf.data.TextLineDataset("/etc/passwd").reduce("", lambda old, new: new)


@pytest.mark.parametrize(
    ("named", "answer"),
    [
        ("ReadFile", lambda history: tf.map_fn(tf.io.read_file, history)),
        ("MatchingFiles", lambda history: tf.io.matching_files("/etc/*")),
        ("EagerPyFunc", lambda history: tf.py_function(len, [history], tf.int32)),
        ("PrintV2", printing),
        ("ReadFile", lambda history: tf.while_loop(lambda x: False, deeply, [history])[0]),
        ("Dataset in its", lambda history: next_line()),
    ],
)
def test_operations_that_do_more_than_compute(named, answer, tmp_path):
    problem = unsafe_part(save(tmp_path / "1", answer))
    assert named in problem and "the operation" in problem and "serving_default" in problem
    assert "\n" not in problem


def test_an_operation_in_the_place_of_a_function(edited):
    def edit(meta, graph):
        function = answer_function(graph)
        node = next(n for n in function.node_def if n.op == "StatefulPartitionedCall")
        node.attr["f"].func.name = "ReadFile"

    assert "the operation ReadFile in its signature serving_default" in unsafe_part(edited(edit))


def test_an_operation_inside_an_attribute_of_a_function(edited):
    def edit(meta, graph):
        node = next(n for n in graph.node if n.op == "StatefulPartitionedCall")
        inner = node.attr["f"].func.attr["g"].list.func.add(name=initializer(graph).signature.name)
        inner.attr["h"].func.name = "WriteFile"

    assert "the operation WriteFile" in unsafe_part(edited(edit))


def test_an_operation_that_nobody_knows(edited):
    problem = unsafe_part(edited(lambda meta, graph: graph.node.add(name="n", op="Own>Evil")))
    assert problem == "which has the operation Own>Evil in its graph"


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "sub/../../words", ""])
def test_assets_outside_the_folder(name, edited):
    def edit(meta, graph):
        meta.asset_file_def[0].filename = name

    assert unsafe_part(edited(edit)) == f"whose asset {name!r} lies outside its folder"


def test_an_asset_that_is_a_link_out_of_the_folder(edited):
    path = edited(lambda meta, graph: None)
    (path / "assets" / "words.txt").unlink()
    os.symlink("/etc/passwd", path / "assets" / "words.txt")
    assert "lies outside its folder" in unsafe_part(path)


READS = "the operation InitializeTableFromTextFileV2 of a file that is no asset"


def test_a_table_of_any_file(edited):
    """An initializer with the path in it: a table that answers with the lines of a file."""

    def edit(meta, graph):
        function = initializer(graph)
        node = next(n for n in function.node_def if n.op == "InitializeTableFromTextFileV2")
        constant = function.node_def.add(name="path", op="Const")
        constant.attr["dtype"].type = tf.string.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
        node.input[1] = "path:output:0"

    assert READS in unsafe_part(edited(edit))


def test_a_table_of_the_file_that_a_variable_names(edited):
    """The path goes through a variable, into which the graph writes another one."""

    def edit(meta, graph):
        handle = next(n for n in graph.node if n.op == "AssignVariableOp").input[0]
        constant = graph.node.add(name="path", op="Const")
        constant.attr["dtype"].type = tf.string.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
        graph.node.add(name="again", op="AssignVariableOp", input=[handle, "path"])

    assert READS in unsafe_part(edited(edit))


def test_a_table_of_what_a_signature_is_asked(edited):
    """Clients fill in the path of an asset, or what is computed from it."""

    def edit(meta, graph):
        path = meta.asset_file_def[0].tensor_info.name
        meta.signature_def["serving_default"].inputs["path"].name = path

    assert "whose signature serving_default takes" in unsafe_part(edited(edit))


def test_a_table_of_what_pythons_loader_binds(edited):
    """Python's loader does not read the graph, but which object a function was bound to."""

    def edit(meta, graph):
        objects = meta.object_graph_def
        bound = objects.concrete_functions[initializer(graph).signature.name].bound_inputs
        at = next(n for n, i in enumerate(bound) if objects.nodes[i].WhichOneof("kind") == "asset")
        bound[at] = next(n for n, o in enumerate(objects.nodes) if o.WhichOneof("kind") != "asset")

    assert READS in unsafe_part(edited(edit))


def test_a_signature_that_saves(edited):
    """What writes weights is in every SavedModel; no signature may call it."""

    def ask_it(meta, graph):
        signature = meta.signature_def["serving_default"]
        signature.outputs["y"].name = meta.saver_def.save_tensor_name

    assert "the operation SaveV2" in unsafe_part(edited(ask_it))


def test_a_signature_that_calls_what_saves(edited):
    def edit(meta, graph):
        saves = next(f for f in graph.library.function if "traced_save" in f.signature.name)
        answer_function(graph).node_def[0].attr["f"].func.name = saves.signature.name

    assert "the operation SaveV2 in its" in unsafe_part(edited(edit))


def test_weights_of_another_model(edited):
    def edit(meta, graph):
        function = next(f for f in graph.library.function if "traced_restore" in f.signature.name)
        node = next(n for n in function.node_def if n.op == "RestoreV2")
        node.input[0] = "RestoreV2/tensor_names:output:0"

    assert "the operation RestoreV2 of a file that is no asset" in unsafe_part(edited(edit))


def test_a_second_graph_file(edited):
    path = edited(lambda meta, graph: None)
    (path / "saved_model.cpb").write_bytes(b"")
    assert unsafe_part(path) == "which has a saved_model.cpb beside saved_model.pb"
