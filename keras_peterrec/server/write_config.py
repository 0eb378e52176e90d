"""What a team needs to run TensorFlow Serving, laid out from the package.

The files lie in `export/` of the repository; `deployment`, beside this file, is a link to it, and
a copy in a wheel.
"""

from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import write_bytes
from keras_peterrec.types import AnyPath

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
_SOURCE = Path(__file__).with_name("deployment")


def write_config(folder: AnyPath) -> list[str]:
    """Writes the configs, the clients and their how-to into a folder; overwrites nothing.

    Args:
        folder: path. It may exist, and hold exports, but none of these files.

    Returns:
        list of the paths written.

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
        content = (_SOURCE / name).read_bytes()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, content)
    return [str(folder / name) for name in FILES]
