"""The tasks through a server's `:classify` and `:regress`, which read serialized `tf.Example`."""

import pytest
import tensorflow as tf
from serving_samples import (
    HISTORIES,
    OF_EXAMPLES,
    assert_same,
    example,
    expected,
    rows_for,
)
from tensorflow.core.framework import types_pb2


@pytest.fixture
def folder(exported):
    return exported.folder


@pytest.mark.parametrize("name", OF_EXAMPLES)
def test_answers_are_those_of_predict(exported, folder, name):
    """Lists of different lengths, empty and unknown ones included, alone and together."""
    reference = expected(exported, name, HISTORIES)
    rows = rows_for(name, HISTORIES)
    assert_same(folder.answer(name, inputs=rows), reference)
    for n, row in enumerate(rows):
        alone = {key: values[n : n + 1] for key, values in reference.items()}
        assert_same(folder.answer(name, inputs=[row]), alone)


def test_names_and_types_are_what_a_server_asks_for(folder):
    string, number = types_pb2.DT_STRING, types_pb2.DT_FLOAT
    # By the end of its name: each output's type and rank.
    wanted = {
        "_classify": {"classes": (string, 2), "scores": (number, 2)},
        "_regress": {"outputs": (number, 1)},
    }
    for name in OF_EXAMPLES:
        signature = folder.signature_defs[name]
        assert {key: info.dtype for key, info in signature.inputs.items()} == {"inputs": string}
        found = {k: (i.dtype, len(i.tensor_shape.dim)) for k, i in signature.outputs.items()}
        assert found == wanted[name[name.rindex("_") :]]
        for info in signature.outputs.values():
            assert info.tensor_shape.dim[0].size == -1


@pytest.mark.parametrize("name", ["films_classify", "topics_classify", "spend_regress"])
def test_forms_of_an_example(folder, name):
    """One string or a list of items; no feature is an empty history; nobody may ask."""
    no_feature = tf.train.Example().SerializeToString()
    rows = [example(["s1", "s2"]), example(["s1 s2"]), example([]), no_feature]
    answer = folder.answer(name, inputs=rows)
    listed, one, empty, none = (
        {key: values[n] for key, values in answer.items()} for n in range(len(rows))
    )
    assert_same(one, listed)
    assert_same(none, empty)
    assert all(len(values) == 0 for values in folder.answer(name, inputs=[]).values())


def test_filled_up_with_the_first_row(folder):
    rows = rows_for("films_classify", HISTORIES)
    alone = folder.answer("films_classify", inputs=rows)
    filled = folder.answer("films_classify", inputs=rows + rows[:1] * 5)
    assert_same({key: values[: len(rows)] for key, values in filled.items()}, alone)
    first = {key: values[:1] for key, values in alone.items()}
    for n in range(len(rows), len(rows) + 5):
        assert_same({key: values[n : n + 1] for key, values in filled.items()}, first)


def test_reader_does_not_offer_them(exported):
    assert not set(exported.model.signatures) & set(OF_EXAMPLES)


def test_a_task_is_in_the_graph_once(folder):
    """The second signature calls the first: all that it adds is small."""
    library = folder.meta_graph.graph_def.library.function
    added = [f for f in library if "inference_from_examples" in f.signature.name]
    assert len(added) == len(OF_EXAMPLES)
    assert not {"MatMul", "Conv2D"} & {node.op for f in added for node in f.node_def}
