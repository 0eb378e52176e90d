"""Warm-up requests, which TensorFlow Serving answers before it answers anyone.

A server reads `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
`PredictionLog` messages. If one of them fails, the model does not load.
"""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from keras_peterrec.progress import each
from keras_peterrec.serving.signature_names import KEEP_SEEN, STATE, K, input_names
from keras_peterrec.serving.signatures import ask, input_type
from keras_peterrec.types import AnyPath

PATH = Path("assets.extra") / "tf_serving_warmup_requests"
MOST_ROWS = 32  # of a request; `max_batch_size` of export/batching.config
MOST_RECORDS = 1000  # a server refuses a model with more


def sample_rows(
    signature: str, histories: Sequence[str], tasks: Sequence[str] = ("",)
) -> dict[str, Sequence[Any]]:
    """Makes rows for each input of a signature; their lists may differ in length.

    `tasks` are those that rows of mixed tasks name, by default an unknown one.
    """
    if input_names(signature) == ("inputs",):
        return {"inputs": [_example(history) for history in histories]}
    rows = {
        "history": histories,
        "task": list(tasks),
        STATE: ["" for _ in histories],  # new users
        "item": [(history.split() or [""])[-1] for history in histories],
        "seen": histories,
        "items": histories[1:],
        "allow": ["", *histories],
        "deny": ["", "", *histories],
        K: [0, 1, 2],
        KEEP_SEEN: [0, 1],
    }
    return {name: rows[name] for name in input_names(signature)}


def warmup_requests(rows: Any) -> list[tuple[str, Any]]:
    """Makes one request for each signature, at most `MOST_RECORDS`.

    The first request to a signature takes seconds, in which its graph is optimised. Requests of
    other sizes then cost no more than they compute, so one for each signature is enough.

    `rows` are for each signature as `sample_rows` makes them; shorter lists are repeated.
    """
    requests = []
    for name, columns in rows.items():
        size = min(max(map(len, columns.values())), MOST_ROWS)
        batch = {key: [rows[n % len(rows)] for n in range(size)] for key, rows in columns.items()}
        requests.append((name, batch))
    return requests[:MOST_RECORDS]


def write_warmup(folder: AnyPath, requests: Any, model_name: str = "peterrec") -> None:
    """Writes warm-up requests into a version directory that is not published yet.

    All of them are `Predict` requests: every signature answers those, and no setting of a
    server refuses them. The model's name is for people; servers do not read it.
    """
    path = Path(folder) / PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            log = _prediction_log()()
            request = log.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, batch in inputs.items():
                # With `string_val`, not `tensor_content`: some clients read only that.
                tensor = tf.make_tensor_proto(batch, input_type(name), [len(batch)])
                request.inputs.add(key=name, value=tensor.SerializeToString())
            writer.write(log.SerializeToString())


def read_warmup(folder: AnyPath) -> list[tuple[str, Any]]:
    """Reads the requests that `write_warmup` wrote, (signature, dict of arrays) each."""
    requests = []
    for record in tf.data.TFRecordDataset(str(Path(folder) / PATH)).as_numpy_iterator():
        request = _prediction_log().FromString(record).predict_log.request
        inputs = {
            given.key: tf.io.parse_tensor(given.value, input_type(given.key)).numpy()
            for given in request.inputs
        }
        requests.append((request.model_spec.signature_name, inputs))
    return requests


def replay_warmup(signatures: Any, requests: Any) -> list[tuple[str, str]]:
    """Asks a loaded SavedModel its warm-up requests; returns (signature, problem) pairs."""
    problems = []
    for name, inputs in each(requests, "warm-up requests", total=len(requests)):
        if name not in signatures:
            problems.append((name, "asks a signature that the model does not have"))
            continue
        try:
            answer = ask(signatures[name], inputs)
        except (TypeError, ValueError, tf.errors.OpError) as error:
            problems.append((name, f"fails: {str(error).strip().splitlines()[0]}"))
            continue
        if not all(np.isfinite(array).all() for array in answer.values() if array.dtype != object):
            problems.append((name, "is answered with numbers that are not finite"))
    return problems


@contextlib.contextmanager
def graphs_as_they_are():
    """Within this block, TensorFlow runs graphs without optimizing them first.

    Optimizing takes most of the time of a signature's first answer.
    """
    options = tf.config.optimizer.get_experimental_options()
    before = options.get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({**options, "disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({**options, "disable_meta_optimizer": before})


def _example(history):
    """A serialized `tf.Example` of one history."""
    items = tf.train.BytesList(value=[item.encode() for item in history.split()])
    features = tf.train.Features(feature={"history": tf.train.Feature(bytes_list=items)})
    return tf.train.Example(features=features).SerializeToString()


@functools.cache
def _prediction_log():
    """The class of the message `PredictionLog`, with the fields that we write.

    It is described here so that an export does not need the package
    tensorflow-serving-api. The numbers are those of
    `tensorflow_serving/apis/{prediction_log,predict,model}.proto`.
    """
    kinds = descriptor_pb2.FieldDescriptorProto
    # message: (field, number, type); a name in place of a type is another message.
    messages = {
        "ModelSpec": (("name", 1, kinds.TYPE_STRING), ("signature_name", 3, kinds.TYPE_STRING)),
        # A map is a repeated pair. The value is a TensorProto: on the wire, a message
        # inside a message is its bytes.
        "Input": (("key", 1, kinds.TYPE_STRING), ("value", 2, kinds.TYPE_BYTES)),
        "PredictRequest": (("model_spec", 1, "ModelSpec"), ("inputs", 2, "Input")),
        "PredictLog": (("request", 1, "PredictRequest"),),
        "PredictionLog": (("predict_log", 6, "PredictLog"),),
    }
    package = "tensorflow.serving"
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_peterrec/prediction_log.proto", package=package, syntax="proto3"
    )
    for message, fields in messages.items():
        description = file.message_type.add(name=message)
        for name, number, kind in fields:
            label = kinds.LABEL_REPEATED if name == "inputs" else kinds.LABEL_OPTIONAL
            field = description.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kind
    # A pool of its own: the server's package may be loaded in the same process.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    log = pool.FindMessageTypeByName(f"{package}.PredictionLog")
    return message_factory.GetMessageClass(log)
