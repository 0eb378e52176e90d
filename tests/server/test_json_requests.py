"""From a request's JSON to tensors, as in TensorFlow Serving's transcripts."""

import json
import math
import struct

import numpy as np
import pytest
import tensorflow as tf
import transcripts
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2 as types
from tensorflow.core.protobuf import meta_graph_pb2

from keras_peterrec.server.errors import ServingError
from keras_peterrec.server.json_parser import parse_json
from keras_peterrec.server.json_requests import read_inputs, read_object

REQUESTS = [entry for entry in transcripts.load("json_tensor.json") if "body" in entry]


def read(body, dtypes):
    document, _ = read_object(body)
    return read_inputs(document, dtypes)[0]


def read_arrays(body, dtypes):
    return {name: values.to_array() for name, values in read(body, dtypes).items()}


@transcripts.needed
@pytest.mark.parametrize("entry", REQUESTS, ids=lambda entry: entry["name"])
def test_transcript(entry):
    signature = meta_graph_pb2.SignatureDef.FromString(bytes.fromhex(entry["sig"]))
    dtypes = {name: info.dtype for name, info in signature.inputs.items()}
    body = entry["body"].encode("latin-1")
    if "error" in entry:
        with pytest.raises(ServingError) as error:
            read(body, dtypes)
        assert error.value.code == entry["code"]
        assert transcripts.same_message(error.value.message, entry["error"])
        return
    found = read(body, dtypes)
    assert found.keys() == entry["ok"].keys()
    for name, wanted in entry["ok"].items():
        assert (found[name].dtype, found[name].shape) == (wanted["dtype"], wanted["shape"])
        # The transcripts show small integers before they are narrowed.
        narrow = wanted["dtype"] in (types.DT_UINT8, types.DT_INT8)
        values = found[name].values if narrow else found[name].to_array().reshape(-1).tolist()
        assert list(map(repr, values)) == wanted["vals"]


def test_small_integers_are_narrowed_as_tensorflow_does():
    array = read(b'{"instances":[300, -1]}', {"u": types.DT_UINT8})["u"].to_array()
    assert array.dtype == np.uint8 and array.tolist() == [44, 255]


@pytest.mark.parametrize(
    "body, error",
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"  ", "JSON Parse error: The document is empty. at offset: 2"),
        (b'{"instances":[1e400]}', "JSON Parse error: Number too big to be stored in double."),
        (b'{"instances":["\\ud800"]}', "JSON Parse error: The surrogate pair in string is invalid"),
        (b'{"instances":["a\nb"]}', "JSON Parse error: Invalid encoding in string. at offset: 16"),
        (b'{"instances":["a', "JSON Parse error: Missing a closing quotation mark in string."),
        (b'{"instances":["\\x"]}', "JSON Parse error: Invalid escape character in string. at of"),
        (b'{"instances" 1}', "JSON Parse error: Missing a colon after a name of object member."),
        (b'{"instances":1 2}', "JSON Parse error: Missing a comma or '}' after an object member."),
        (b"{1:2}", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"instances":[1.]}', "JSON Parse error: Miss fraction part in number."),
        (b'{"instances":[1e]}', "JSON Parse error: Miss exponent in number."),
        (b'// c\n{"instances":[1]}', "JSON Parse error: Invalid value. at offset: 0"),
        (b"[" * 10_000, "JSON Parse error: Maximum parse recursion depth exceeded!"),
        (b'{"instances":[%s]}' % (b"1" * 400), "JSON Parse error: Number too big to be stored in"),
        (b'{"instances":[%s]}' % (b"1" * 5000), "JSON Parse error: Invalid integer value"),
        (b'{"signature_name":1,"instances":[1]}', "JSON Value: {"),
        (
            b'{"instances":[[1],[[2]]]}',
            "Failed to process element: 1 of 'instances' list. Error: "
            "INVALID_ARGUMENT: Expecting shape [1] but got: [1,1]",
        ),
        (b'{"inputs":[[1],2]}', "JSON Value: 2 found at incorrect level: 2 in the JSON DOM"),
        (b'{"inputs":[1,[2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        (b'{"inputs":{"y":[1]}}', "Missing named input: x in 'inputs' object."),
        (
            b'{"instances":[{"x":1,"y":2}]}',
            "Failed to process element: 0 key: y of 'instances' list"
            ". Error: INVALID_ARGUMENT: JSON object: does not have named input: y",
        ),
    ],
)
def test_refused(body, error):
    with pytest.raises(ServingError) as caught:
        read_arrays(body, {"x": types.DT_FLOAT})
    assert caught.value.code == 3
    assert caught.value.message.startswith(error)


@pytest.mark.parametrize(
    ("given", "shown"), [(b"NaN", ""), (b"-Infinity", ""), (b"[Infinity, 1]", "")]
)
def test_messages_stop_where_json_has_no_number(given, shown):
    """As RapidJSON's writer does, which TensorFlow Serving uses."""
    with pytest.raises(ServingError) as caught:
        read(b'{"inputs":%s}' % given, {"s": types.DT_STRING})
    assert caught.value.message.startswith(f"JSON Value: {shown} ")


def test_messages_repeat_at_most_256_bytes():
    with pytest.raises(ServingError) as caught:
        read(json.dumps({"instances": "é" * 10_000}).encode(), {"x": types.DT_FLOAT})
    shown = caught.value.message.removeprefix("JSON Value: ").split(" Expecting")[0]
    assert len(shown.encode("utf-8", "surrogateescape")) == 256


def test_first_of_a_repeated_key_counts():
    for body in (b'{"a":1,"a":2,"b":{"c":1,"c":2}}', b'{"a":1,"a":Inf,"b":{"c":1,"c":2}}'):
        assert parse_json(body) == {"a": 1, "b": {"c": 1}}


def test_integers_beyond_64_bits():
    for text in (b"18446744073709551616", b"-9223372036854775809", b"1" + b"0" * 300):
        body = b'{"inputs":%s}' % text
        assert read_arrays(body, {"x": types.DT_DOUBLE})["x"] == float(text)
        with pytest.raises(ServingError, match="is not of expected type: int64"):
            read(body, {"x": types.DT_INT64})
    for text in (b"18446744073709551615", b"-9223372036854775808"):
        assert parse_json(text) == int(text)


def test_surrogate_pairs_are_one_character():
    body = json.dumps({"instances": ["film \U0001f600", "é"]}).encode()
    (values,) = read(body, {"history": types.DT_STRING}).values()
    assert values.values == ["film \U0001f600".encode(), "é".encode()]


def test_bytes_that_are_not_utf8_are_kept():
    body = b'\xef\xbb\xbf {"a\xff": ["\xff\xfe \xc3\xa9", "\xf0\x9f\x98\x80", "\\u00e9"]} \xff'
    ((name, values),) = parse_json(body).items()
    assert name.encode("utf-8", "surrogateescape") == b"a\xff"
    found = [value.encode("utf-8", "surrogateescape") for value in values]
    assert found == [b"\xff\xfe \xc3\xa9", b"\xf0\x9f\x98\x80", b"\xc3\xa9"]


@pytest.mark.parametrize("more", [b"x", b" {", b"]]", b'"', b"1", b" \x00", b"\n\xff", b"//"])
def test_text_after_the_document_is_ignored(more):
    for text, value in ((b"[1.5, {}]", [1.5, {}]), (b'{"a": 1}', {"a": 1}), (b'"a"', "a")):
        assert parse_json(text + more) == value


def test_nan_and_infinities():
    found = parse_json(b"[NaN, Infinity, -Infinity, Inf, -Inf]")
    assert math.isnan(found[0]) and found[1:] == [math.inf, -math.inf, math.inf, -math.inf]
    for word in (b"nan", b"inf", b"+1", b"Infinit"):
        with pytest.raises(ServingError, match="JSON Parse error: Invalid value."):
            parse_json(word)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_reads_what_python_writes(value, ascii):
    try:
        body = json.dumps(value, ensure_ascii=ascii).encode()
    except UnicodeEncodeError:
        return  # a lone surrogate, which is an error
    if b"\\ud" not in body:
        assert parse_json(body) == value


@given(st.binary(max_size=60) | st.text('[]{}",:0123456789.eE+-\\untrfalsNI ').map(str.encode))
def test_anything_is_read_or_refused(body):
    try:
        parse_json(body)
    except ServingError as error:
        assert error.message.startswith("JSON Parse error: ")


@given(
    st.sampled_from(["float32", "float64", "int32", "int64", "bool", "string"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.data(),
)
def test_columns_equal_the_protobuf(kind, shape, data):
    """A tensor written as JSON is read as the protobuf made of it is."""
    if 0 in shape[:-1]:
        return  # JSON does not say what is inside an empty list
    scalar = {
        "float32": st.floats(width=32),
        "float64": st.floats(),
        "int32": st.integers(-(2**31), 2**31 - 1),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "bool": st.booleans(),
        "string": st.text(st.characters(exclude_categories=["Cs"])),
    }[kind]
    size = math.prod(shape)
    flat = data.draw(st.lists(scalar, min_size=size, max_size=size))
    array = np.array(flat, dtype=object).reshape(shape)
    dtype = tf.dtypes.as_dtype(kind)
    body = json.dumps({"inputs": array.tolist()}).encode()
    found = read(body, {"x": dtype.as_datatype_enum})["x"].to_array()
    if kind == "string":
        array = np.array([text.encode() for text in flat], dtype=object).reshape(shape)
    else:
        array = array.astype(dtype.as_numpy_dtype)
    wanted = tf.make_ndarray(tf.make_tensor_proto(array, dtype, shape))
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)


@given(st.floats(width=32))
def test_float_bits_survive(value):
    found = read(json.dumps({"inputs": value}).encode(), {"x": types.DT_FLOAT})["x"].to_array()
    if not math.isnan(value):
        assert struct.pack("f", found[()]) == struct.pack("f", value)
