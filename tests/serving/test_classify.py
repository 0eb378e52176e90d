"""The tasks through a server's `:classify`: serialized `tf.Example` in, labels out."""

import pytest
import tensorflow as tf
from serving_samples import (
    CLASSIFY_NAMES,
    HISTORIES,
    assert_same,
    example,
    expected,
    rows_for,
)
from tensorflow.core.framework import types_pb2

from keras_peterrec.serving.checks.export_folder import ExportFolder


@pytest.fixture
def folder(exported):
    return ExportFolder(exported.out)


@pytest.mark.parametrize("name", CLASSIFY_NAMES)
def test_answers_are_those_of_predict(exported, folder, name):
    """Lists of different lengths, empty and unknown ones included, alone and together."""
    reference = expected(exported, name, HISTORIES)
    rows = rows_for(name, HISTORIES)
    assert_same(folder.answer(name, inputs=rows), reference)
    for n, row in enumerate(rows):
        alone = {key: values[n : n + 1] for key, values in reference.items()}
        assert_same(folder.answer(name, inputs=[row]), alone)


def test_names_and_types_are_what_a_server_asks_for(folder):
    for name in CLASSIFY_NAMES:
        signature = folder.signature_defs[name]
        assert list(signature.inputs) == ["inputs"]
        assert signature.inputs["inputs"].dtype == types_pb2.DT_STRING
        assert set(signature.outputs) == {"classes", "scores"}
        assert signature.outputs["classes"].dtype == types_pb2.DT_STRING
        assert signature.outputs["scores"].dtype == types_pb2.DT_FLOAT
        for info in signature.outputs.values():
            assert info.tensor_shape.dim[0].size == -1 and len(info.tensor_shape.dim) == 2


def test_one_string_or_a_list_of_items(folder):
    listed = folder.answer("films_classify", inputs=[example(["s1", "s2"])])
    assert_same(folder.answer("films_classify", inputs=[example(["s1 s2"])]), listed)


def test_no_feature_is_an_empty_history(folder):
    empty = tf.train.Example().SerializeToString()
    answer = folder.answer("films_classify", inputs=[empty, example([])])
    one, other = ({key: values[n] for key, values in answer.items()} for n in (0, 1))
    assert_same(one, other)
    assert len(folder.answer("films_classify", inputs=[])["scores"]) == 0


def test_filled_up_with_the_first_row(folder):
    rows = rows_for("films_classify", HISTORIES)
    alone = folder.answer("films_classify", inputs=rows)
    filled = folder.answer("films_classify", inputs=rows + rows[:1] * 5)
    assert_same({key: values[: len(rows)] for key, values in filled.items()}, alone)
    first = {key: values[:1] for key, values in alone.items()}
    for n in range(len(rows), len(rows) + 5):
        assert_same({key: values[n : n + 1] for key, values in filled.items()}, first)


def test_reader_does_not_offer_them(exported):
    assert not set(exported.model.signatures) & set(CLASSIFY_NAMES)


def test_a_task_is_in_the_graph_once(folder):
    """The second signature calls the first: all that it adds is small."""
    library = folder.meta_graph.graph_def.library.function
    added = [f for f in library if "inference_from_examples" in f.signature.name]
    assert len(added) == len(CLASSIFY_NAMES)
    assert not {"MatMul", "Conv2D"} & {node.op for f in added for node in f.node_def}
