"""One version of a model in memory."""

import contextlib
import time
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow_serving.apis import prediction_log_pb2

from keras_peterrec.files.json_file import read_json
from keras_peterrec.serving.asset_hashes import changed_assets
from keras_peterrec.serving.exported_model import DESCRIPTION
from keras_peterrec.serving.server.classification import examples_array
from keras_peterrec.serving.server.errors import DATA_LOSS, ServingError, invalid
from keras_peterrec.serving.server.proto_tensors import read_tensor
from keras_peterrec.serving.server.signature import Signature, find_signature
from keras_peterrec.serving.warmup import PATH as WARMUP

_MOST_WARMUPS = 1000
# Several runs at a time fill the processors better than one that is split among them. A bias
# that TensorFlow fuses into its product is computed by oneDNN, which takes longer for a few rows
# and no less for many: without, a next item of 50,000 takes 13 % less time, a step 30 %.
_SESSION = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1)
_SESSION.graph_options.rewrite_options.remapping = RewriterConfig.OFF
_DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


class LoadedVersion:
    """A SavedModel in a session of its own, warm.

    It is loaded as TensorFlow Serving does, by tags into a session, which also is the
    quickest way to call it from Python.

    Args:
        path: path of the version directory.
        number: int.
        model: str. Name of the model, for metrics. Defaults to `""`.

    Attributes:
        signatures: dict from name to Signature.
        definitions: dict from name to SignatureDef, also of what is no signature to ask.
        description: dict that `export` wrote, None in other SavedModels.
        examples: list of str. Histories for a person to try, where it is such an export.
        requests: dict from signature to the inputs of its first warm-up request.
        warmup_seconds: float.
        users: int. Requests that are being answered.

    Raises:
        Exception: it cannot be loaded, its assets are not those that were exported, or one of
            its own warm-up requests fails.
    """

    def __init__(self, path, number, model=""):
        path = Path(path)
        self.number = number
        self.users = 0
        self._idle = None
        self.description = _description(path)
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=_SESSION)
        try:
            with self.session.graph.as_default(), _without_advice():
                loaded = tf.compat.v1.saved_model.loader.load(
                    self.session, [tf.saved_model.SERVING], str(path)
                )
            self.definitions = dict(loaded.signature_def)
            steady = self.description is not None
            self.signatures = {
                name: Signature(name, definition, self.session, model, steady)
                for name, definition in self.definitions.items()
                if definition.outputs and name != "__saved_model_init_op"
            }
            start = time.perf_counter()
            self.examples, self.requests = [], {}
            for name, inputs in _warmup_requests(path):
                self._answer(name, inputs)
                self.requests.setdefault(name, inputs)
                if self.description and name == _DEFAULT and not self.examples:
                    self.examples = _histories(inputs)
            self.warmup_seconds = time.perf_counter() - start
        except BaseException:
            self.session.close()
            raise

    @contextlib.contextmanager
    def in_use(self):
        """Keeps the version open while a request is answered."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1
            if not self.users and self._idle:
                self._idle()

    def when_idle(self, call):
        """Calls `call` once nothing uses the version, which must get no new users."""
        if self.users:
            self._idle = call
        else:
            call()

    def close(self):
        """Frees its memory."""
        self.session.close()

    def _answer(self, name, inputs):
        signature = find_signature(
            self.signatures,
            name,
            lambda name: invalid(f'Serving signature key "{name}" not found.'),
        )
        signature.check(inputs)
        signature.run(inputs)


@contextlib.contextmanager
def _without_advice():
    """TensorFlow recommends its other loader, whose calls take twice as long."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def _description(path):
    file = path / DESCRIPTION
    if not file.is_file():
        return None
    description = read_json(file, "model")
    changed = changed_assets(path, description)
    if changed:
        told = f"missing or not what was exported: {', '.join(changed)}"
        raise ServingError(DATA_LOSS, told)
    return description


def _histories(inputs):
    texts = [text.decode("utf-8", "replace") for text in inputs.get("history", [])]
    return sorted({text for text in texts if text.strip()}, key=len, reverse=True)


def _warmup_requests(path):
    """(signature, inputs) of each of the version's own requests."""
    if not (path / WARMUP).is_file():
        return
    records = tf.data.TFRecordDataset(str(path / WARMUP)).take(_MOST_WARMUPS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            request = log.predict_log.request
            inputs = {key: read_tensor(tensor) for key, tensor in request.inputs.items()}
        elif kind in ("classify_log", "regress_log"):
            request = getattr(log, kind).request
            inputs = {"inputs": examples_array(request.input)}
        else:
            continue
        yield request.model_spec.signature_name, inputs
