"""Warm-up requests, which TensorFlow Serving replays before it answers.

A server reads `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
`PredictionLog` messages; a request that fails there fails the model's load. The
messages are described here, as far as they are needed, so that exporting takes no
dependency on the server's own package. The numbers are those of
`tensorflow_serving/apis/{prediction_log,predict,model}.proto`.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PATH = Path("assets.extra") / "tf_serving_warmup_requests"
BATCH_SIZES = (1, 8, 32)  # as `allowed_batch_sizes` of export/batching.config
MOST_RECORDS = 1000  # a server refuses a model with more
_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow.serving"
# message: (field, number, type); a name in place of a type is another message.
_MESSAGES = {
    "ModelSpec": (("name", 1, _FIELD.TYPE_STRING), ("signature_name", 3, _FIELD.TYPE_STRING)),
    # A map is a repeated pair. The value is a TensorProto; on the wire a message
    # within a message is its bytes.
    "Input": (("key", 1, _FIELD.TYPE_STRING), ("value", 2, _FIELD.TYPE_BYTES)),
    "PredictRequest": (("model_spec", 1, "ModelSpec"), ("inputs", 2, "Input")),
    "PredictLog": (("request", 1, "PredictRequest"),),
    "PredictionLog": (("predict_log", 6, "PredictLog"),),
}


def warmup_requests(rows):
    """One request for each signature and batch size, as many as a server reads.

    Args:
        rows: dict from signature to dict from input name to list of str or bytes, each
            repeated until a batch is full; see `sample_rows`.

    Returns:
        list of (signature, dict from input name to list of str or bytes). All signatures
        come with one batch size before any comes with the next.
    """
    requests = [
        (name, {key: [column[n % len(column)] for n in range(size)] for key, column in of.items()})
        for size in BATCH_SIZES
        for name, of in rows.items()
    ]
    return requests[:MOST_RECORDS]


def write_warmup(folder, requests, model_name="peterrec"):
    """Writes warm-up requests into a version directory.

    All of them are `Predict` requests, which any signature answers and which no
    setting of a server refuses.

    Args:
        folder: path of the version directory.
        requests: sequence of (signature, dict from input name to list of str or bytes),
            one request each.
        model_name: str. For people; a server does not read it. Defaults to
            `"peterrec"`.
    """
    path = Path(folder) / PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            log = _prediction_log()
            request = log.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, batch in inputs.items():
                # With `string_val`, not `tensor_content`: some clients read only that.
                tensor = tf.make_tensor_proto(batch, tf.string, [len(batch)])
                request.inputs.add(key=name, value=tensor.SerializeToString())
            writer.write(log.SerializeToString())


def read_warmup(folder):
    """Reads what `write_warmup` wrote.

    Returns:
        list of (signature, dict from input name to array).
    """
    requests = []
    for record in tf.data.TFRecordDataset(str(Path(folder) / PATH)).as_numpy_iterator():
        request = _prediction_log().FromString(record).predict_log.request
        inputs = {p.key: tf.io.parse_tensor(p.value, tf.string).numpy() for p in request.inputs}
        requests.append((request.model_spec.signature_name, inputs))
    return requests


def replay_warmup(signatures, requests):
    """Answers warm-up requests: one that fails would fail a server's load.

    Args:
        signatures: dict from name to callable signature of a loaded SavedModel.
        requests: list of (signature, dict from input name to array).

    Returns:
        list of (signature, what is wrong: str), empty if all is well.
    """
    problems = []
    for name, inputs in requests:
        if name not in signatures:
            problems.append((name, "is no signature of the model"))
            continue
        try:
            answer = signatures[name](**{key: tf.constant(v) for key, v in inputs.items()})
        except (TypeError, ValueError, tf.errors.OpError) as error:
            problems.append((name, f"fails: {str(error).strip().splitlines()[0]}"))
            continue
        numbers = [tensor.numpy() for tensor in answer.values() if tensor.dtype.is_floating]
        if not all(np.isfinite(number).all() for number in numbers):
            problems.append((name, "answers with scores that are not finite"))
    return problems


def _prediction_log():
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_peterrec/prediction_log.proto", package=_PACKAGE, syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        description = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = description.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
            if isinstance(kind, str):
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
            if name == "inputs":
                field.label = _FIELD.LABEL_REPEATED
    # A pool of its own: the server's package may be loaded in the same process.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    log = pool.FindMessageTypeByName(f"{_PACKAGE}.PredictionLog")
    return message_factory.GetMessageClass(log)()
