"""From tensors to an answer's JSON, as in TensorFlow Serving's transcripts."""

import json

import numpy as np
import pytest
import transcripts
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2 as types

from keras_peterrec.server.errors import ServingError
from keras_peterrec.server.json_answers import (
    write_answer,
    write_classes,
    write_regressions,
)
from keras_peterrec.server.json_requests import COLUMN, ROW

INFINITY = float("inf")


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


# What the transcripts' answers were made of.
TENSORS = {
    "resp single row": np.array(
        [1, 0.2, 3e-5, 9e6, 123456.703, np.nan, INFINITY, -INFINITY], "float32"
    ),
    "resp single row 2d": np.array([[1, 2], [3, 4]], "float32"),
    "resp scalar row": np.array(1, "float32"),
    "resp bytes suffix": strings(b"ab", b"\xff"),
    "resp double": np.array([0.1, 1 / 3, 1e300, 1e16]),
    "resp bf16": np.array([1], "float16"),
    "resp empty batch": np.zeros([0], "float32"),
    "resp empty inner": np.zeros([2, 0], "float32"),
    "resp no outputs": None,
    "resp escape": strings(b'a"b\\c\n\t/'),
}
ANSWERS = [entry for entry in transcripts.load("json_tensor.json") if "result" in entry]


@transcripts.needed
@pytest.mark.parametrize("entry", ANSWERS, ids=lambda entry: entry["name"])
def test_transcript(entry):
    array = TENSORS[entry["name"]]
    name = "y_bytes" if "bytes" in entry["name"] else "y"
    dtype = types.DT_BFLOAT16 if "bf16" in entry["name"] else types.DT_FLOAT
    outputs = {} if array is None else {name: (array, dtype)}
    if entry["result"][0] == "OK":
        assert transcripts.same_json(write_answer(outputs, ROW), entry["result"][1])
        return
    with pytest.raises(ServingError) as error:
        write_answer(outputs, ROW)
    assert (error.value.code, error.value.message) == tuple(entry["result"][1:])


def test_column_form():
    one = {"y": (np.array([2.5, 3], "float32"), types.DT_FLOAT)}
    assert write_answer(one, COLUMN) == b'{"outputs": [2.5, 3.0]}'
    scalar = {"y": (np.array(7, "int64"), types.DT_INT64)}
    assert write_answer(scalar, COLUMN) == b'{"outputs": 7}'


def test_several_outputs():
    outputs = {
        "items": (np.array([[b"a", b"b"]], object), types.DT_STRING),
        "scores": (np.array([[1, 0.5]], "float32"), types.DT_FLOAT),
    }
    assert json.loads(write_answer(outputs, ROW)) == {
        "predictions": [{"items": ["a", "b"], "scores": [1.0, 0.5]}]
    }
    assert json.loads(write_answer(outputs, COLUMN)) == {
        "outputs": {"items": [["a", "b"]], "scores": [[1.0, 0.5]]}
    }


def test_outputs_of_different_batches():
    outputs = {n: (np.zeros(n + 1, "float32"), types.DT_FLOAT) for n in range(2)}
    with pytest.raises(ServingError, match="Tensor name: 1 has inconsistent batch size: 2 expect"):
        write_answer(outputs, ROW)
    assert json.loads(write_answer({str(n): o for n, o in outputs.items()}, COLUMN))


def test_classes_and_regressions():
    assert json.loads(write_classes([[(b"a", 0.25), (b"", 1)]])) == {
        "results": [[["a", 0.25], ["", 1.0]]]
    }
    assert json.loads(write_regressions(np.array([1, 2.5]))) == {"results": [1.0, 2.5]}


SHAPES = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@given(
    SHAPES,
    st.sampled_from(["float32", "float64", "int64", "uint64", "bool", "object"]),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_reads_back(shape, dtype, seed, several):
    """Python's own JSON reads the very numbers, in both forms."""
    random = np.random.default_rng(seed)
    array = random.normal(0, 10.0 ** random.integers(-30, 30), shape)
    if dtype == "object":
        flat = [bytes([65 + n % 26, 34, 92, 10]) for n in range(array.size)]
        array = strings(*flat).reshape(shape)
        wanted = np.array([b.decode() for b in flat], object).reshape(shape).tolist()
    else:
        if dtype in ("int64", "uint64", "bool"):
            array = random.integers(0, 2**63 if dtype != "bool" else 2, shape)
        array = array.astype(dtype)
        wanted = array.tolist()
    outputs = {"y": (array, types.DT_STRING)}
    if several:
        outputs["z"] = (array, types.DT_STRING)
    rows = json.loads(write_answer(outputs, ROW))["predictions"]
    column = json.loads(write_answer(outputs, COLUMN))["outputs"]
    found = [column["z"], [row["z"] for row in rows]] if several else [column, rows]
    for values in found:
        if dtype == "float32":
            np.testing.assert_array_equal(np.array(values, "float32").reshape(shape), array)
        else:
            assert values == wanted
