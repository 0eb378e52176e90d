"""gRPC through TensorFlow Serving's own stubs."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from serving_samples import HISTORIES, NAMES, OF_EXAMPLES, assert_same, example, expected
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def half(half_server):
    with grpc.insecure_channel(f"127.0.0.1:{half_server.grpc_port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def predictions(half):
    return prediction_service_pb2_grpc.PredictionServiceStub(half)


@pytest.fixture(scope="module")
def management(half):
    return model_service_pb2_grpc.ModelServiceStub(half)


def request(model, inputs, signature="", **spec):
    made = predict_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    if "version" in spec:
        made.model_spec.version.value = spec["version"]
    if "label" in spec:
        made.model_spec.version_label = spec["label"]
    for name, tensor in inputs.items():
        made.inputs[name].CopyFrom(tensor)
    return made


def refused(call, *arguments):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments)
    return error.value.code(), error.value.details()


X = tf.make_tensor_proto([1.0, 2.0, 5.0])


@pytest.fixture(scope="module")
def tasks(export_server):
    with grpc.insecure_channel(f"127.0.0.1:{export_server.grpc_port}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.mark.parametrize("task", NAMES)
def test_answers_are_those_of_python(task, tasks, causal_export):
    tensor = tf.make_tensor_proto([history.encode() for history in HISTORIES])
    answer = tasks.Predict(request("peterrec", {"history": tensor}, task))
    found = {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}
    for name, array in found.items():
        if array.dtype == object:
            found[name] = np.vectorize(bytes.decode, otypes=[object])(array)
    assert_same(found, causal_export.model.predict(task, HISTORIES))
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("peterrec", 1, task)


@pytest.mark.parametrize("named", ["task", "signature"])
@pytest.mark.parametrize("signature", OF_EXAMPLES)
def test_an_exports_tasks_classify_and_regress(signature, named, tasks, causal_export):
    regress = signature.endswith("_regress")
    given = (
        regression_pb2.RegressionRequest()
        if regress
        else classification_pb2.ClassificationRequest()
    )
    given.model_spec.name = "peterrec"
    given.model_spec.signature_name = signature if named == "signature" else OF_EXAMPLES[signature]
    for history in HISTORIES:
        given.input.example_list.examples.add().ParseFromString(example(history.split()))
    wanted = expected(causal_export, signature, HISTORIES)
    if regress:
        values = [row.value for row in tasks.Regress(given).result.regressions]
        assert_same({"outputs": np.array(values)}, wanted)
        return
    rows = tasks.Classify(given).result.classifications
    labels = np.array([[each.label for each in row.classes] for row in rows])
    scores = np.array([[each.score for each in row.classes] for row in rows])
    assert_same({"classes": labels, "scores": scores}, wanted)


def test_outputs_are_typed_fields_and_inputs_either(predictions):
    assert X.tensor_content
    text = "dtype: DT_FLOAT tensor_shape { dim { size: 3 } } float_val: [1, 2, 5]"
    typed = text_format.Parse(text, type(X)())
    for tensor in (X, typed):
        output = predictions.Predict(request("half", {"x": tensor})).outputs["y"]
        assert list(output.float_val) == [2.5, 3.0, 4.5] and not output.tensor_content
        assert [dim.size for dim in output.tensor_shape.dim] == [3]
    words = tf.make_tensor_proto([b"\xff a", b""])
    outputs = predictions.Predict(request("everything", {"text": words}, "words")).outputs
    assert list(outputs["first_bytes"].string_val) == [b"\xff", b""]
    assert list(outputs["count"].int64_val) == [2, 0]


def test_versions_labels_and_filter(predictions):
    for spec, version in [({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 2)]:
        answer = predictions.Predict(request("half", {"x": X}, **spec))
        assert answer.model_spec.version.value == version
        assert answer.model_spec.signature_name == "serving_default"
    two = request("everything", {"a": tf.make_tensor_proto(2.0), "b": X}, "two")
    two.output_filter.append("z")
    assert list(predictions.Predict(two).outputs) == ["z"]


def test_errors(predictions):
    call = predictions.Predict
    assert refused(call, request("nope", {"x": X})) == (
        CODE.NOT_FOUND,
        "Servable not found for request: Latest(nope)",
    )
    assert refused(call, request("half", {"x": X}, version=3)) == (
        CODE.NOT_FOUND,
        "Servable not found for request: Specific(half, 3)",
    )
    assert refused(call, request("half", {"x": X}, label="nope")) == (
        CODE.INVALID_ARGUMENT,
        "Unrecognized servable version label: nope",
    )
    assert refused(call, request("half", {"x": X}, "zzz")) == (
        CODE.FAILED_PRECONDITION,
        'Serving signature key "zzz" not found.',
    )
    empty = predict_pb2.PredictRequest()
    assert refused(call, empty) == (CODE.INVALID_ARGUMENT, "Missing ModelSpec")
    for inputs in ({}, {"y": X}, {"x": X, "z": X}):
        code, details = refused(call, request("half", inputs))
        assert code == CODE.INVALID_ARGUMENT
        assert details.startswith("input size does not match signature: ")
    code, details = refused(call, request("half", {"x": tf.make_tensor_proto(["a"])}))
    assert (code, details) == (
        CODE.INVALID_ARGUMENT,
        "Expects arg[0] to be float but string is provided",
    )


@pytest.mark.parametrize(
    "text",
    [
        "dtype: DT_FLOAT tensor_shape { dim { size: 1000000000000 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { unknown_rank: true } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: 3 } } tensor_content: 'abc'",
        "dtype: DT_STRING tensor_shape { dim { size: 3 } } string_val: ['a', 'b']",
        "dtype: DT_RESOURCE tensor_shape { dim { size: 3 } }",
        "dtype: DT_INVALID",
    ],
)
def test_messages_that_do_not_hold_what_they_say(predictions, text):
    tensor = text_format.Parse(text, tf.make_tensor_proto(1.0).__class__())
    code, _ = refused(predictions.Predict, request("half", {"x": tensor}))
    assert code == CODE.INVALID_ARGUMENT


@pytest.mark.parametrize("shape", [(1 << 24,), (1, 1 << 21), (4097, 0), (4096, 1 << 10)])
def test_a_few_bytes_that_say_much(shape, predictions, monkeypatch):
    monkeypatch.setattr(tf, "make_ndarray", None)  # refused before anything is made
    tensor = type(X)(dtype=7, string_val=[b"a"])
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    code, details = refused(predictions.Predict, request("everything", {"text": tensor}, "words"))
    assert code == CODE.INVALID_ARGUMENT
    if shape[0] > 4096:
        assert details == f"Task size {shape[0]} is larger than maximum input batch size 4096"
    else:
        assert details.startswith("Tensor proto should hold at most 1048576 values.")


def test_examples_that_say_much(predictions):
    given = classification_pb2.ClassificationRequest()
    given.model_spec.name, given.model_spec.signature_name = "everything", "classify"
    examples = given.input.example_list_with_context
    examples.context.features.feature["x"].bytes_list.value.append(b"a" * 100_000)
    for _ in range(1000):
        examples.examples.add()
    code, details = refused(predictions.Classify, given)
    assert code == CODE.INVALID_ARGUMENT
    assert details.startswith("A context should be at most 67108864 bytes for all examples.")
    for _ in range(4000):
        examples.examples.add()
    assert refused(predictions.Classify, given) == (
        CODE.INVALID_ARGUMENT,
        "Task size 5000 is larger than maximum input batch size 4096",
    )


def test_classify_and_regress(predictions):
    given = classification_pb2.ClassificationRequest()
    given.model_spec.name, given.model_spec.signature_name = "everything", "classify"
    assert refused(predictions.Classify, given) == (CODE.INVALID_ARGUMENT, "Input is empty.")
    example = given.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(0.5)
    (row,) = predictions.Classify(given).result.classifications
    assert [(c.label, c.score) for c in row.classes] == [("a", 0.5), ("b", -0.5)]
    values = regression_pb2.RegressionRequest()
    values.model_spec.name, values.model_spec.signature_name = "everything", "regress"
    values.input.CopyFrom(given.input)
    assert [r.value for r in predictions.Regress(values).result.regressions] == [0.25]
    for name in ("both", "both_regress"):
        values.model_spec.signature_name = name
        answer = predictions.Regress(values)
        assert [r.value for r in answer.result.regressions] == [0.25]
        assert answer.model_spec.signature_name == name
    given.model_spec.signature_name = "words"
    code, details = refused(predictions.Classify, given)
    assert code == CODE.FAILED_PRECONDITION
    assert details.startswith("No classification inputs found in SignatureDef: ")


def test_what_is_left_out_is_unimplemented(predictions):
    code, _ = refused(predictions.MultiInference, inference_pb2.MultiInferenceRequest())
    assert code == CODE.UNIMPLEMENTED


def test_metadata(predictions):
    given = get_model_metadata_pb2.GetModelMetadataRequest()
    given.model_spec.name = "half"
    assert refused(predictions.GetModelMetadata, given)[0] == CODE.INVALID_ARGUMENT
    given.metadata_field.append("signature_def")
    answer = predictions.GetModelMetadata(given)
    held = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(held)
    assert held.signature_def["serving_default"].inputs["x"].dtype == 1


def test_status(management):
    given = get_model_status_pb2.GetModelStatusRequest()
    given.model_spec.name = "half"
    found = management.GetModelStatus(given).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert [(s.version, s.state) for s in found] == [(2, available), (1, available)]
    given.model_spec.version.value = 9
    assert refused(management.GetModelStatus, given)[0] == CODE.NOT_FOUND


def test_other_configurations(management, predictions, half_server):
    folder = half_server.folder

    def reload(text):
        given = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(f"model_config_list {{ {text} }}", given.config)
        return management.HandleReloadConfigRequest(given)

    both = "model_version_policy { all {} }"
    half = f'config {{ name: "half" base_path: "{folder}/half" {both} %s }}'
    everything = f'config {{ name: "everything" base_path: "{folder}/everything" }}'
    labels = 'version_labels { key: "%s" value: %d }'
    assert refused(reload, 'config { name: "a" base_path: "/etc" }')[0] == CODE.PERMISSION_DENIED
    assert refused(reload, 'config { name: "a" base_path: "rel" }')[0] == CODE.INVALID_ARGUMENT
    assert refused(reload, "")[0] == CODE.INVALID_ARGUMENT
    try:
        reload(half % (labels % ("old", 1)))  # without `everything`, which ends
        assert (
            predictions.Predict(request("half", {"x": X}, label="old")).model_spec.version.value
            == 1
        )
        assert refused(predictions.Predict, request("everything", {"x": X}))[0] == CODE.NOT_FOUND
        code, details = refused(reload, half % (labels % ("x", 9)))
        assert code == CODE.FAILED_PRECONDITION and "version 9 of model half" in details
    finally:
        reload(half % (labels % ("stable", 2) + labels % ("canary", 2)) + everything)
    assert predictions.Predict(request("everything", {"x": X})).outputs
