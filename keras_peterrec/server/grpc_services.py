"""TensorFlow Serving's gRPC services: predictions, models, health."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2
from tensorflow.core.protobuf import meta_graph_pb2  # noqa: F401, registers what `Any` holds
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from keras_peterrec.errors import InputError
from keras_peterrec.server.errors import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    OK,
    PERMISSION_DENIED,
    ServingError,
    as_serving_error,
    invalid,
    unknown_signature,
)
from keras_peterrec.server.json_answers import status_message
from keras_peterrec.server.limits import check_rows, in_thread_if_large, within
from keras_peterrec.server.model_config import configs_of
from keras_peterrec.server.tensors import read_tensor, write_tensor

if TYPE_CHECKING:
    from keras_peterrec.server.inference import Inference
    from keras_peterrec.server.metrics import Metrics
    from keras_peterrec.server.models import Models

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_MAX_DETAILS = 4000  # characters: headers hold no more than some kilobytes
# The names under which a client may ask for health; the empty one is the server itself.
_HEALTH_NAMES = (
    health.OVERALL_HEALTH,
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)


def _answered(call):
    """Answers a request by `call`: within the time, counted, and with gRPC's codes of errors."""

    @functools.wraps(call)
    async def answer(self, request, context):
        start, code, name = time.perf_counter(), OK, request.model_spec.name
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return await within(self.seconds, call(self, request))
        except asyncio.CancelledError:  # by the client, or because its own deadline has passed
            left = context.time_remaining()
            code = CANCELLED if left is None or left > 0 else DEADLINE_EXCEEDED
            raise
        except Exception as error:
            code = as_serving_error(error).code
            await _abort(context, error)
        finally:
            seconds = time.perf_counter() - start
            self.metrics.record_request(self.models, name, call.__name__, "GRPC", code, seconds)

    return answer


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers Predict, Classify, Regress and GetModelMetadata.

    `MultiInference`, several classifications of the same examples, is not implemented.

    Args:
        seconds: float. Time in which a model must answer, if the client does not allow less;
            0 for no limit.
    """

    def __init__(
        self, models: Models, inference: Inference, metrics: Metrics, seconds: float
    ) -> None:
        self.models = models
        self.inference = inference
        self.metrics = metrics
        self.seconds = seconds

    def _find(self, spec):
        choice = spec.WhichOneof("version_choice")
        return self.models.find(
            spec.name,
            spec.version.value if choice == "version" else None,
            spec.version_label if choice == "version_label" else None,
        )

    @_answered
    async def Predict(self, request: Any) -> Any:
        """Answers with typed fields; reads those and `tensor_content`."""
        spec = request.model_spec
        with self._find(spec).in_use() as version:
            signature = version.find_signature(spec.signature_name, unknown_signature)
            wanted = _check_filter(signature, request.output_filter)
            if len(request.inputs) == len(signature.dtypes):
                # Before the tensors are read: a few bytes can say that a value is repeated.
                check_rows(map(_shape, request.inputs.values()), self.inference.max_rows)
                inputs = await in_thread_if_large(request.ByteSize(), _read_inputs, request)
            else:
                inputs = dict.fromkeys(request.inputs)  # the names are enough for the error
            arrays = await self.inference.predict(signature, inputs)
        response = predict_pb2.PredictResponse()
        _describe(response.model_spec, spec.name, version, signature.name)
        for (name, dtype), array in zip(signature.outputs.items(), arrays, strict=True):
            if name in wanted:
                response.outputs[name].CopyFrom(write_tensor(array, dtype))
        return response

    @_answered
    async def Classify(self, request: Any) -> Any:
        """Answers with labels and scores of examples."""
        spec = request.model_spec
        with self._find(spec).in_use() as version:
            rows = await self.inference.classify(version, spec.signature_name, request.input)
        response = classification_pb2.ClassificationResponse()
        _describe(response.model_spec, spec.name, version, spec.signature_name)
        for row in rows:
            added = response.result.classifications.add()
            for label, score in row:
                added.classes.add(label=label.decode("utf-8", "replace"), score=score)
        return response

    @_answered
    async def Regress(self, request: Any) -> Any:
        """Answers with values of examples."""
        spec = request.model_spec
        with self._find(spec).in_use() as version:
            values = await self.inference.regress(version, spec.signature_name, request.input)
        response = regression_pb2.RegressionResponse()
        _describe(response.model_spec, spec.name, version, spec.signature_name)
        for value in values.tolist():
            response.result.regressions.add(value=value)
        return response

    @_answered
    async def GetModelMetadata(self, request: Any) -> Any:
        """Answers with the signatures of a version."""
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid("Metadata field ", name, " is not supported")
        version = self._find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _describe(response.model_spec, request.model_spec.name, version, "")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in version.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(signatures)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Answers the status of models, and takes another configuration.

    A request must not make the server read any folder it names. So a configuration may change
    versions and labels, but name only the folders with which the server was started.

    Args:
        base_paths: set of str. The folders that a configuration may name.
    """

    def __init__(self, models: Models, base_paths: Collection[str]) -> None:
        self.models = models
        self.base_paths = {_resolved(path) for path in base_paths}

    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        """Answers with the states of a model's versions, or of one of them."""
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            spec = request.model_spec
            number = spec.version.value if spec.HasField("version") else None
            return status_message(self.models.status(spec.name, number))
        except Exception as error:
            await _abort(context, error)

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        """Serves the models that the request lists, and no others."""
        try:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
            try:
                configs = configs_of(request.config)
            except InputError as error:
                raise invalid(error) from error
            for config in configs.values():
                if _resolved(config.base_path) not in self.base_paths:
                    raise ServingError(
                        PERMISSION_DENIED,
                        "`base_path` should be a folder that the server was started with. "
                        f"Received: {config.base_path!r}.",
                    )
            # Shielded: a client that hangs up must not leave a change half done.
            await asyncio.shield(self.models.replace(configs))
            return model_management_pb2.ReloadConfigResponse()
        except Exception as error:
            await _abort(context, error)


class Health:
    """Keeps the standard health service in line with the models."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.servicer = health.aio.HealthServicer()
        self._before: bool | None = None

    async def update(self) -> None:
        """Says that the server serves if every model has a version that answers."""
        serves = all(model.available for model in self.models)
        if serves != self._before:
            self._before = serves
            statuses = health_pb2.HealthCheckResponse
            for name in _HEALTH_NAMES:
                await self.servicer.set(name, statuses.SERVING if serves else statuses.NOT_SERVING)

    async def stop(self) -> None:
        """Says from now on that the server does not serve."""
        await self.servicer.enter_graceful_shutdown()


async def _abort(context, error):
    """Ends a call with the code and the text of any exception."""
    failure = as_serving_error(error)
    # gRPC's details must be UTF-8.
    details = failure.message.encode("utf-8", "replace").decode()[:_MAX_DETAILS]
    await context.abort(_STATUS.get(failure.code, grpc.StatusCode.UNKNOWN), details)


def _describe(spec, name, version, signature_name):
    spec.name, spec.signature_name = name, signature_name
    spec.version.value = version.number


def _shape(tensor):
    return [dim.size for dim in tensor.tensor_shape.dim]


def _read_inputs(request):
    return {name: read_tensor(tensor) for name, tensor in request.inputs.items()}


def _check_filter(signature, names):
    """The set of outputs that the client wants."""
    for n, name in enumerate(names):
        if name not in signature.outputs:
            known = ",".join(signature.outputs)
            raise invalid(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{known}}}."
            )
        if name in names[:n]:
            raise invalid("duplicate output tensor alias: ", name)
    return set(names) or set(signature.outputs)


def _resolved(path):
    return str(Path(path).resolve())
