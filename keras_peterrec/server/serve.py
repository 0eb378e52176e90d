"""The command `serve`. Importing it needs none of the server's packages."""

import importlib.util
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import write_bytes
from keras_peterrec.progress import line
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.serve import ServeSettings
from keras_peterrec.types import AnyPath, Json

_NEEDED = (
    "uvicorn",
    "httptools",
    "grpc",
    "grpc_health",
    "tensorflow_serving",
    "rapidjson",
    "prometheus_client",
)
# What a team needs to run TensorFlow Serving. The files lie in `export/` of the repository;
# `deployment`, beside this file, is a link to it, and a copy in a wheel.
FILES = (
    "README.md",
    "models.config",
    "batching.config",
    "monitoring.config",
    "compose.yaml",
    "client_rest.py",
    "client_grpc.py",
    "Dockerfile",
    "kubernetes/serving.yaml",
    "kubernetes/refresh.yaml",
)
_DEPLOYMENT = Path(__file__).with_name("deployment")


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


def write_config(folder: AnyPath) -> list[str]:
    """Writes the configs, the clients and their how-to into a folder; returns their paths.

    The folder may exist, and hold exports; nothing is overwritten.

    Raises:
        InputError: one of the files is there already, or `folder` is no folder.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`write_config` should be a folder. Received: {str(folder)!r}, a file.")
    there = [name for name in FILES if (folder / name).is_symlink() or (folder / name).exists()]
    if there:
        raise InputError(
            "`write_config` should be a folder without the files that are written. "
            f"Received: {str(folder)!r}, which has {', '.join(there)}."
        )
    for name in FILES:
        content = (_DEPLOYMENT / name).read_bytes()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, content)
    return [str(folder / name) for name in FILES]
