"""The command `serve`. Importing it needs none of the server's packages."""

import importlib.util

from keras_peterrec.errors import InputError
from keras_peterrec.progress import line
from keras_peterrec.server.write_config import write_config
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.serve import ServeSettings
from keras_peterrec.types import Json

_NEEDED = (
    "uvicorn",
    "httptools",
    "grpc",
    "grpc_health",
    "tensorflow_serving",
    "rapidjson",
    "prometheus_client",
)


@takes(ServeSettings)
def serve(settings: ServeSettings) -> Json:
    """Answers over REST and gRPC as TensorFlow Serving does, until the process is told to end.

    With `write_config` it writes what one needs to run TensorFlow Serving, and answers nothing.

    Returns:
        dict of `http_port`, `grpc_port` and `requests`; with `write_config` of `files`, the paths
        written.

    Raises:
        InputError: if a setting cannot be used, a package is missing, a port is taken, or a model
            cannot be served.
    """
    if settings.write_config is not None:
        files = write_config(settings.write_config)
        line(f"wrote {', '.join(files)}; README.md says how to run them")
        return {"files": files}
    check_installed()
    from keras_peterrec.server.server import run_server

    def announce(port, grpc_port):
        text = f"keras-peterrec: http://{settings.host}:{port} answers"
        if grpc_port is not None:
            text += f", gRPC at {settings.host}:{grpc_port}"
        line(text)

    return run_server(settings, announce)


def check_installed() -> None:
    """Raises InputError if one of the server's packages is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            "`serve` needs packages that are not installed "
            f'({", ".join(missing)}): pip install "keras-peterrec[serve]"'
        )
