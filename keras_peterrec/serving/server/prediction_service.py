"""TensorFlow Serving's `PredictionService` over gRPC."""

import asyncio
import time

import grpc
from tensorflow.core.protobuf import meta_graph_pb2  # noqa: F401, what `Any` holds
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from keras_peterrec.serving.server.batch_limits import check_rows
from keras_peterrec.serving.server.deadline import within
from keras_peterrec.serving.server.errors import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    FAILED_PRECONDITION,
    OK,
    UNIMPLEMENTED,
    ServingError,
    as_serving_error,
    code_name,
    invalid,
)
from keras_peterrec.serving.server.off_loop import off_loop
from keras_peterrec.serving.server.proto_tensors import read_tensor, write_tensor
from keras_peterrec.serving.server.signature import find_signature

_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_STATUS = {status.value[0]: status for status in grpc.StatusCode}


async def abort(context, error):
    """Ends a call with the code and text of any exception."""
    told = as_serving_error(error)
    # A detail is UTF-8, and headers hold no more than some kilobytes.
    details = told.message.encode("utf-8", "replace").decode()[:4000]
    await context.abort(_STATUS.get(told.code, grpc.StatusCode.UNKNOWN), details)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, classify, regress and metadata; REST's answers in messages.

    Args:
        models: Models.
        inference: Inference.
        metrics: Metrics.
        seconds: float. For an answer, where the client does not ask for it sooner; 0 for
            any time. Defaults to `0`.

    Example:

    >>> service = PredictionService(models, inference, metrics)
    >>> prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    """

    def __init__(self, models, inference, metrics, seconds=0):
        self.models = models
        self.inference = inference
        self.metrics = metrics
        self.seconds = seconds

    async def Predict(self, request, context):
        """Answers with typed fields; `tensor_content` is read as well."""
        return await self._answer("Predict", self._predict, request, context)

    async def Classify(self, request, context):
        """Labels and scores of examples."""
        return await self._answer("Classify", self._classify, request, context)

    async def Regress(self, request, context):
        """Values of examples."""
        return await self._answer("Regress", self._regress, request, context)

    async def MultiInference(self, request, context):
        """Several classifications and regressions of the same examples."""
        try:
            return await within(self.seconds, self._tasks(request))
        except Exception as error:
            await abort(context, error)

    async def GetModelMetadata(self, request, context):
        """The signatures of a version."""
        return await self._answer("GetModelMetadata", self._metadata, request, context)

    async def _answer(self, api, call, request, context):
        start, code, name = time.perf_counter(), OK, request.model_spec.name
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return await within(self.seconds, call(request))
        except asyncio.CancelledError:  # by the client, or by its deadline
            left = context.time_remaining()
            code = CANCELLED if left is None or left > 0 else DEADLINE_EXCEEDED
            raise
        except Exception as error:
            code = as_serving_error(error).code
            await abort(context, error)
        finally:
            if self.models.knows(name):
                self.metrics.count("request_count", model_name=name, status=code_name(code))
                if code == OK:
                    self.metrics.observe(
                        "request_latency",
                        (time.perf_counter() - start) * 1e6,
                        model_name=name,
                        API=api,
                        entrypoint="GRPC",
                    )

    def _find(self, spec):
        choice = spec.WhichOneof("version_choice")
        return self.models.find(
            spec.name,
            spec.version.value if choice == "version" else None,
            spec.version_label if choice == "version_label" else None,
        )

    async def _predict(self, request):
        with self._find(request.model_spec).in_use() as version:
            signature = find_signature(
                version.signatures,
                request.model_spec.signature_name,
                lambda name: ServingError(
                    FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
                ),
            )
            wanted = _filtered(signature, request.output_filter)
            if len(request.inputs) == len(signature.dtypes):
                # Before they are read: a few bytes can say that a value is repeated.
                check_rows(map(_shape, request.inputs.values()), self.inference.max_rows)
                inputs = await off_loop(request.ByteSize(), _read_inputs, request)
            else:
                inputs = dict.fromkeys(request.inputs)
            arrays = await self.inference.run(signature, inputs)
        response = predict_pb2.PredictResponse()
        _describe(response.model_spec, request.model_spec.name, version, signature.name)
        for (name, dtype), array in zip(signature.outputs.items(), arrays, strict=True):
            if name in wanted:
                response.outputs[name].CopyFrom(write_tensor(array, dtype))
        return response

    async def _classify(self, request):
        response = classification_pb2.ClassificationResponse()
        await self._fill_classes(
            request.model_spec, request.input, response.result, response.model_spec
        )
        return response

    async def _regress(self, request):
        response = regression_pb2.RegressionResponse()
        await self._fill_values(
            request.model_spec, request.input, response.result, response.model_spec
        )
        return response

    async def _tasks(self, request):
        response = inference_pb2.MultiInferenceResponse()
        names = [task.model_spec.signature_name for task in request.tasks]
        for n, name in enumerate(names):
            if name in names[:n]:
                raise invalid("Duplicate evaluation of signature: ", name)
        for task in request.tasks:
            await self._task(task, request.input, response.results.add())
        return response

    async def _task(self, task, given, result):
        fill, target = {
            _CLASSIFY: (self._fill_classes, result.classification_result),
            _REGRESS: (self._fill_values, result.regression_result),
        }.get(task.method_name, (None, None))
        if fill is None:
            raise ServingError(
                UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
            )
        await fill(task.model_spec, given, target, result.model_spec)

    async def _fill_classes(self, spec, given, result, found):
        with self._find(spec).in_use() as version:
            rows = await self.inference.classify(version, spec.signature_name, given)
        _describe(found, spec.name, version, spec.signature_name)
        for row in rows:
            added = result.classifications.add()
            for label, score in row:
                added.classes.add(label=label.decode("utf-8", "replace"), score=score)

    async def _fill_values(self, spec, given, result, found):
        with self._find(spec).in_use() as version:
            values = await self.inference.regress(version, spec.signature_name, given)
        _describe(found, spec.name, version, spec.signature_name)
        for value in values.tolist():
            result.regressions.add(value=value)

    async def _metadata(self, request):
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid("Metadata field ", name, " is not supported")
        version = self._find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _describe(response.model_spec, request.model_spec.name, version, "")
        held = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in version.definitions.items():
            held.signature_def[name].CopyFrom(definition)
        response.metadata["signature_def"].Pack(held)
        return response


def _describe(spec, name, version, signature_name):
    spec.name, spec.signature_name = name, signature_name
    spec.version.value = version.number


def _shape(tensor):
    return [dim.size for dim in tensor.tensor_shape.dim]


def _read_inputs(request):
    return {name: read_tensor(tensor) for name, tensor in request.inputs.items()}


def _filtered(signature, names):
    for n, name in enumerate(names):
        if name not in signature.outputs:
            raise invalid(
                "output tensor alias not found in signature: ",
                name,
                " Outputs expected to be in the set {",
                ",".join(signature.outputs),
                "}.",
            )
        if name in names[:n]:
            raise invalid("duplicate output tensor alias: ", name)
    return set(names) or set(signature.outputs)
