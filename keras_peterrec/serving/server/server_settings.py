"""How a server answers."""

from dataclasses import dataclass
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.serving.server.model_config import ModelConfig, read_config_file

# What must be positive, and what may be nothing.
_POSITIVE = (
    "max_batch_rows",
    "max_batch_bytes",
    "max_rows",
    "max_waiting",
    "max_waiting_bytes",
    "max_head_bytes",
    "max_body_bytes",
    "max_history_bytes",
    "max_connections",
    "read_seconds",
)
_NOT_NEGATIVE = (
    "port",
    "workers",
    "poll_seconds",
    "config_poll_seconds",
    "shutdown_seconds",
    "request_timeout",
)


@dataclass(frozen=True)
class ServerSettings:
    """How a server answers; see `keras-peterrec serve --help`."""

    model_base_path: str | None = None
    model_config_file: str | None = None
    model_name: str = "peterrec"
    host: str = "127.0.0.1"
    port: int = 8501
    grpc_port: int = 8500
    cors: bool = False
    monitoring: bool = True
    titles: str | None = None
    poll_seconds: float = 1.0
    config_poll_seconds: float = 0.0
    workers: int = 0
    max_batch_rows: int = 256
    max_batch_bytes: int = 4 << 20
    max_rows: int = 4096
    max_waiting: int = 1000
    max_waiting_bytes: int = 256 << 20
    max_head_bytes: int = 64 << 10
    max_body_bytes: int = 64 << 20
    max_history_bytes: int = 4 << 20
    max_connections: int = 1024
    read_seconds: float = 30.0
    request_timeout: float = 30.0
    shutdown_seconds: float = 30.0

    def __post_init__(self):
        for name in (*_POSITIVE, *_NOT_NEGATIVE):
            value, least = getattr(self, name), "positive" if name in _POSITIVE else "at least 0"
            if value < 0 or (value == 0 and name in _POSITIVE):
                raise InputError(f"`{name}` should be {least}. Received: `{name}` = {value!r}.")

    def configs(self):
        """dict from name to ModelConfig.

        Raises:
            InputError: neither or both of a folder and a file are given, or wrongly.
        """
        if (self.model_base_path is None) == (self.model_config_file is None):
            raise InputError(
                "One of `model_base_path` and `model_config_file` should be given. Received: "
                f"{self.model_base_path!r} and {self.model_config_file!r}."
            )
        if self.model_config_file is not None:
            return read_config_file(self.model_config_file)
        path = str(Path(self.model_base_path).resolve())
        return {self.model_name: ModelConfig(self.model_name, path)}
