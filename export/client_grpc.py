"""A client of TensorFlow Serving over gRPC. It needs `pip install tensorflow-serving-api`.

python export/client_grpc.py --task films "1193 661 914" "2355"
python export/client_grpc.py --task films --classify "1193 661 914"
python export/client_grpc.py --task spend --regress "1193 661 914"
"""

import argparse
import json
import sys

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


def predict_request(task, histories, model="peterrec", label=None):
    """Makes a `PredictRequest` for raw histories.

    Args:
        task: str. A signature: a task's name, `serving_default` or `embed`.
        histories: list of str, one for each user: item ids separated by spaces.
        model: str. Defaults to `"peterrec"`.
        label: str, such as `"stable"`. Defaults to `None`, the newest version.

    Raises:
        ValueError: there are no histories. With batching, TensorFlow Serving would never answer.
    """
    request = predict_pb2.PredictRequest()
    _name(request.model_spec, model, task, label)
    histories = _some(histories)
    histories = tf.make_tensor_proto(histories, tf.string, [len(histories)])
    request.inputs["history"].CopyFrom(histories)
    return request


def classify_request(task, histories, model="peterrec", label=None):
    """Makes a `ClassificationRequest`; see `predict_request`."""
    request = classification_pb2.ClassificationRequest()
    _name(request.model_spec, model, f"{task}_classify", label)
    _add_examples(request, histories)
    return request


def regress_request(task, histories, model="peterrec", label=None):
    """Makes a `RegressionRequest`; see `predict_request`."""
    request = regression_pb2.RegressionRequest()
    _name(request.model_spec, model, f"{task}_regress", label)
    _add_examples(request, histories)
    return request


def predictions(response):
    """Reads a `PredictResponse`: a dict from output name to value for each history."""
    # A server may fill the typed fields or `tensor_content`; `make_ndarray` reads both.
    arrays = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    rows = zip(*arrays.values(), strict=True)
    return [dict(zip(arrays, map(_plain, row))) for row in rows]


def pairs(response):
    """Reads a `ClassificationResponse`: `[[label, score], ...]` for each history."""
    found = response.result.classifications
    return [[[entry.label, entry.score] for entry in each.classes] for each in found]


def numbers(response):
    """Reads a `RegressionResponse`: a float for each history."""
    return [each.value for each in response.result.regressions]


def _name(spec, model, signature, label):
    spec.name, spec.signature_name = model, signature
    if label is not None:
        spec.version_label = label


def _some(histories):
    histories = list(histories)
    if not histories:
        raise ValueError("`histories` should be one string or more. Received: none.")
    return histories


def _add_examples(request, histories):
    for history in _some(histories):
        example = request.input.example_list.examples.add()
        items = [item.encode() for item in history.split()]
        example.features.feature["history"].bytes_list.value.extend(items)


def _plain(value):
    """The value of one output for one history: an array, a number or a string."""
    if isinstance(value, bytes):
        return value.decode()
    return [_plain(each) for each in value] if value.ndim else value.item()


def main(arguments=None):
    """Prints the server's answer as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("histories", nargs="+", help='one for each user, such as "1193 661 914"')
    parser.add_argument("--server", default="localhost:8500", help="(default: %(default)s)")
    parser.add_argument("--model", default="peterrec", help="(default: %(default)s)")
    parser.add_argument("--task", default="serving_default", help="(default: the next item)")
    parser.add_argument("--label", help="version label, such as stable (default: newest version)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds (default: 10)")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--classify", action="store_true", help="ask for [label, score] pairs")
    verbs.add_argument("--regress", action="store_true", help="ask for a number")
    options = parser.parse_args(arguments)
    asked = (options.task, options.histories, options.model, options.label)
    try:
        with grpc.insecure_channel(options.server) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            if options.classify:
                answer = pairs(service.Classify(classify_request(*asked), options.timeout))
            elif options.regress:
                answer = numbers(service.Regress(regress_request(*asked), options.timeout))
            else:
                answer = predictions(service.Predict(predict_request(*asked), options.timeout))
    except grpc.RpcError as error:
        print(f"client_grpc: error: {error.code().name}: {error.details()}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()
