"""TensorFlow Serving's `ModelService` over gRPC."""

import asyncio
from pathlib import Path

from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
)

from keras_peterrec.errors import InputError
from keras_peterrec.serving.server.errors import PERMISSION_DENIED, ServingError, invalid
from keras_peterrec.serving.server.model_config import configs_of
from keras_peterrec.serving.server.prediction_service import abort
from keras_peterrec.serving.server.proto_json import status_message


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Status of models, and what is served by another configuration.

    A request must not make the server read whatever folder it names: a configuration may
    change versions and labels, and name the folders that the server was started with.

    Args:
        models: Models.
        base_paths: set of str. The folders that a configuration may name.

    Example:

    >>> service = ModelService(models, {"/models/peterrec"})
    >>> model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    """

    def __init__(self, models, base_paths):
        self.models = models
        self.base_paths = {_plain(path) for path in base_paths}

    async def GetModelStatus(self, request, context):
        """States of the versions of a model, or of one."""
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            spec = request.model_spec
            number = spec.version.value if spec.HasField("version") else None
            return status_message(self.models.status(spec.name, number))
        except Exception as error:
            await abort(context, error)

    async def HandleReloadConfigRequest(self, request, context):
        """Serves what the request lists, and that alone."""
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
                if _plain(config.base_path) not in self.base_paths:
                    raise ServingError(
                        PERMISSION_DENIED,
                        "`base_path` should be a folder that the server was started with. "
                        f"Received: {config.base_path!r}.",
                    )
            # A client that has gone leaves nothing half done.
            await asyncio.shield(self.models.replace(configs))
            return model_management_pb2.ReloadConfigResponse()
        except Exception as error:
            await abort(context, error)


def _plain(path):
    return str(Path(path).resolve())
