"""One version of a model in memory, and its signatures."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow_serving.apis import prediction_log_pb2

from keras_peterrec.server.errors import (
    DATA_LOSS,
    PERMISSION_DENIED,
    ServingError,
    invalid,
    unknown_signature,
)
from keras_peterrec.server.tensors import (
    INPUTS,
    NUMPY_TYPES,
    read_serialized_examples,
    read_tensor,
    type_title,
)
from keras_peterrec.serving.export_files import changed_assets, read_description
from keras_peterrec.serving.graph_safety import unsafe_part
from keras_peterrec.serving.signature_names import COUNTS, INIT, NEXT_ITEM
from keras_peterrec.serving.warmup import PATH as WARMUP
from keras_peterrec.tensorflow_internals import make_callable, quiet_tensorflow
from keras_peterrec.types import AnyPath

_MAX_WARMUPS = 1000  # TensorFlow Serving's limit
# Several runs beside each other use the processors better than one run that is split among them.
# A bias that TensorFlow fuses into its product is computed by oneDNN, which is slower for a few
# rows and not faster for many: without the fusion a next item of 50,000 takes 13 % less time, a
# step 30 %.
_SESSION = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1)
_SESSION.graph_options.rewrite_options.remapping = RewriterConfig.OFF
# Up to here a run stays on the thread that asks for it: runs beside each other fill the
# processors, and TensorFlow's own threads would only take them from the event loop. A call with
# one history takes three quarters of the time. A request of more rows usually is the only one.
_FEW_ROWS = 64


class LoadedVersion:
    """A SavedModel in a session of its own, warmed up.

    It is loaded as TensorFlow Serving does, by tags into a session; this is also the fastest way
    to call it from Python.

    Args:
        path: the version directory.
        model: the model's name, for metrics.
        trust: whether its graph may do more than compute.

    Attributes:
        signatures: dict from name to Signature.
        definitions: dict from name to SignatureDef, also of what cannot be asked.
        description: dict that `export` wrote, `None` for other SavedModels.
        examples: list of str. Histories for a person to try, from the warm-up requests.
        users: int. Requests that are being answered.

    Raises:
        Exception: if it cannot be loaded, its assets are not those that were exported, its graph
            may do more than compute, or one of its own warm-up requests fails.
    """

    def __init__(self, path: AnyPath, number: int, model: str = "", trust: bool = False) -> None:
        path = Path(path)
        self.number = number
        self.users = 0
        self._when_idle: Callable[..., Any] | None = None
        self.description = _read_description(path)
        if not trust:
            _refuse_unsafe(path)
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=_SESSION)
        try:
            with self.session.graph.as_default(), quiet_tensorflow():
                loaded = tf.compat.v1.saved_model.loader.load(
                    self.session, [tf.saved_model.SERVING], str(path)
                )
            self.definitions = dict(loaded.signature_def)
            self.signatures = {
                name: Signature(name, definition, self.session, model)
                for name, definition in self.definitions.items()
                if definition.outputs and name != INIT
            }
            self._warm_up(path)
        except BaseException:
            self.session.close()
            raise

    def find_signature(self, name: str, error: Callable[[str], Exception] | None) -> "Signature":
        """The signature of a name, by default that of next items; `error` makes what is raised."""
        name = name or NEXT_ITEM
        if name not in self.signatures:
            raise error(name)
        return self.signatures[name]

    @contextlib.contextmanager
    def in_use(self) -> Any:
        """Keeps the version open while a request is answered."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1
            if not self.users and self._when_idle:
                self._when_idle()

    def when_idle(self, call: Callable[..., Any]) -> None:
        """Calls `call` after the last user has finished; no new users may come."""
        if self.users:
            self._when_idle = call
        else:
            call()

    def close(self) -> None:
        """Frees its memory."""
        self.session.close()

    def _warm_up(self, path):
        start = time.perf_counter()
        self.examples = []
        for name, inputs in _read_warmup_requests(path):
            signature = self.find_signature(name, unknown_signature)
            signature.check(inputs)
            signature.run(inputs)
            if self.description and name == NEXT_ITEM and not self.examples:
                self.examples = _histories(inputs)
        self.warmup_seconds = time.perf_counter() - start


class Signature:
    """A function from arrays to arrays inside a session.

    Attributes:
        dtypes: dict from the name of an input to its `DataType` number.
        outputs: dict from the name of an output to its `DataType` number.
        count_places: places among `outputs` of `known_events` and `events`; `()` where it has
            none.
        texts: list of str. The inputs that take one string for each row, and nothing else.
        mergeable: bool. Whether several requests can run as one: the first dimension of each
            input and output is a batch of any size.

    Raises:
        tf.errors.OpError: if the graph lacks what the definition names.
    """

    def __init__(self, name: str, definition: Any, session: Any, model: str = "") -> None:
        self.name = name
        self.model = model
        self.definition = definition
        self.dtypes = {key: info.dtype for key, info in sorted(definition.inputs.items())}
        self.outputs = {key: info.dtype for key, info in sorted(definition.outputs.items())}
        integers = [key for key, dtype in self.outputs.items() if dtype == types_pb2.DT_INT32]
        counted = set(COUNTS) <= set(integers)
        self.count_places = tuple(map(list(self.outputs).index, COUNTS)) if counted else ()
        self.texts = [
            key
            for key, info in sorted(definition.inputs.items())
            if info.dtype == types_pb2.DT_STRING
            and not info.tensor_shape.unknown_rank
            and len(info.tensor_shape.dim) == 1
            and key != INPUTS  # serialized examples
        ]
        tensors = [*definition.inputs.values(), *definition.outputs.values()]
        self.mergeable = bool(self.dtypes) and all(map(_has_free_batch, tensors))
        feeds = [definition.inputs[key].name for key in self.dtypes]
        fetches = [definition.outputs[key].name for key in self.outputs]
        # Making one takes seconds, in which TensorFlow optimises the graph. The other is made when
        # the first large request comes.
        self._run_few = make_callable(session, feeds, fetches, on_calling_thread=True)
        self._make_run_many = functools.partial(make_callable, session, feeds, fetches)
        self._making = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray]) -> Any:
        """A list of arrays in the order of `outputs`; strings are bytes objects.

        Raises:
            tf.errors.OpError: if the graph fails.
        """
        arrays = [inputs[key] for key in self.dtypes]
        few = all(array.ndim > 0 and len(array) <= _FEW_ROWS for array in arrays)
        return (self._run_few if few else self._run_many)(*arrays)

    @functools.cached_property
    def _run_many(self):
        with self._making:  # two large requests may come at once
            return self.__dict__.get("_run_many") or self._make_run_many()

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Raises a ServingError if an input is missing, unknown or of another type."""
        sent, wanted = sorted(inputs), list(self.dtypes)
        if sent != wanted:
            extra = ",".join(sorted(set(sent) - set(wanted)))
            missing = ",".join(sorted(set(wanted) - set(sent)))
            raise invalid(
                f"input size does not match signature: {len(sent)}!={len(wanted)} "
                f"len({{{','.join(sent)}}}) != len({{{','.join(wanted)}}}). "
                f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
            )
        for n, (name, dtype) in enumerate(self.dtypes.items()):
            if inputs[name].dtype != NUMPY_TYPES[dtype]:
                came = tf.dtypes.as_dtype(inputs[name].dtype).as_datatype_enum
                raise invalid(
                    f"Expects arg[{n}] to be {type_title(dtype)} but {type_title(came)} is provided"
                )


def _has_free_batch(info):
    shape = info.tensor_shape
    return not shape.unknown_rank and len(shape.dim) > 0 and shape.dim[0].size == -1


def _read_description(path):
    description = read_description(path, "model")
    changed = changed_assets(path, description or {})
    if changed:
        raise ServingError(DATA_LOSS, f"missing or not what was exported: {', '.join(changed)}")
    return description


def _refuse_unsafe(path):
    # A path without a graph is the loader's to complain about.
    problem = unsafe_part(path) if (path / "saved_model.pb").is_file() else None
    if problem:
        raise ServingError(
            PERMISSION_DENIED,
            "it should do no more than compute, or be trusted with --trust. "
            f"Received: a model {problem}",
        )


def _histories(inputs):
    texts = [text.decode("utf-8", "replace") for text in inputs.get("history", [])]
    return sorted({text for text in texts if text.strip()}, key=len, reverse=True)


def _read_warmup_requests(path):
    """Yields (signature, inputs) of each of the version's own requests."""
    if not (path / WARMUP).is_file():
        return
    records = tf.data.TFRecordDataset(str(path / WARMUP)).take(_MAX_WARMUPS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            request = log.predict_log.request
            inputs = {key: read_tensor(tensor) for key, tensor in request.inputs.items()}
        elif kind in ("classify_log", "regress_log"):
            request = getattr(log, kind).request
            inputs = {INPUTS: read_serialized_examples(request.input)}
        else:
            continue
        yield request.model_spec.signature_name, inputs
