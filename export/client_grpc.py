"""Asks TensorFlow Serving over gRPC; needs `pip install tensorflow-serving-api`.

python export/client_grpc.py --task films "1193 661 914" "2355"
python export/client_grpc.py --task films --classify "1193 661 914"
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
)


def predict_request(task, histories, model="peterrec", label=None):
    """A `PredictRequest` for raw histories.

    Args:
        task: str. A signature: a task's name, `serving_default` or `embed`.
        histories: list of str, item ids separated by spaces, one string a user.
        model: str. Defaults to `"peterrec"`.
        label: str, such as `"stable"`. Defaults to `None`, the newest version.
    """
    request = predict_pb2.PredictRequest()
    _name(request.model_spec, model, task, label)
    histories = tf.make_tensor_proto(list(histories), tf.string, [len(histories)])
    request.inputs["history"].CopyFrom(histories)
    return request


def classify_request(task, histories, model="peterrec", label=None):
    """A `ClassificationRequest`; see `predict_request`."""
    request = classification_pb2.ClassificationRequest()
    _name(request.model_spec, model, f"{task}_classify", label)
    for history in histories:
        example = request.input.example_list.examples.add()
        items = [item.encode() for item in history.split()]
        example.features.feature["history"].bytes_list.value.extend(items)
    return request


def answers(response):
    """A `PredictResponse` as one dict of lists a history.

    `make_ndarray` reads the typed fields as well as `tensor_content`: a server sends either.
    """
    arrays = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    rows = zip(*arrays.values(), strict=True)
    return [dict(zip(arrays, (_plain(values) for values in row))) for row in rows]


def pairs(response):
    """A `ClassificationResponse` as `[[label, score], ...]` for each history."""
    found = response.result.classifications
    return [[[entry.label, entry.score] for entry in each.classes] for each in found]


def _name(spec, model, signature, label):
    spec.name, spec.signature_name = model, signature
    if label is not None:
        spec.version_label = label


def _plain(values):
    return [v.decode() if isinstance(v, bytes) else float(v) for v in values.tolist()]


def main(arguments=None):
    """Prints what the server answers, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("histories", nargs="+", help='item ids, "1193 661 914"; one a user')
    parser.add_argument("--server", default="localhost:8500")
    parser.add_argument("--model", default="peterrec")
    parser.add_argument("--task", default="serving_default", help="(default: the next item)")
    parser.add_argument("--label", help="version label, such as stable (default: the newest)")
    parser.add_argument("--classify", action="store_true", help="ask for [label, score] pairs")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds (default: 10)")
    options = parser.parse_args(arguments)
    asked = (options.task, options.histories, options.model, options.label)
    try:
        with grpc.insecure_channel(options.server) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            if options.classify:
                answer = pairs(service.Classify(classify_request(*asked), options.timeout))
            else:
                answer = answers(service.Predict(predict_request(*asked), options.timeout))
    except grpc.RpcError as error:
        print(f"client_grpc: error: {error.code().name}: {error.details()}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()
