"""The standard health service of gRPC."""

import grpc
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING = 1, 2
_KNOWN = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


class HealthService:
    """Answers `grpc.health.v1.Health/Check`, as load balancers and Kubernetes ask it.

    Its two messages are a string and a number, each the first field, as those of
    Protocol Buffers' own wrappers are: no package of their own is needed.

    Args:
        is_serving: callable that returns a bool.

    Example:

    >>> server.add_generic_rpc_handlers([HealthService(lambda: True).handler()])
    """

    def __init__(self, is_serving):
        self.is_serving = is_serving

    def handler(self):
        """What a server adds."""
        check = grpc.unary_unary_rpc_method_handler(
            self.check, StringValue.FromString, Int32Value.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": check})

    async def check(self, request, context):
        """Whether the server, or the service that is named, answers."""
        if request.value not in _KNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Unknown service: {request.value}")
        return Int32Value(value=SERVING if self.is_serving() else NOT_SERVING)
