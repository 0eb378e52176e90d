"""Settings of `serve`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.errors import InputError
from keras_peterrec.settings.base import Settings, not_negative, positive_number, setting
from keras_peterrec.types import AnyPath


@dataclass(frozen=True)
class ServeSettings(Settings):
    """Settings of the embedded server."""

    command: ClassVar[str] = "serve"
    help_text: ClassVar[str] = "answer over REST and gRPC as TensorFlow Serving does"
    hints: ClassVar[dict[str, str]] = {
        "--rest-api-port": "here it is --port, and TensorFlow Serving's --port is --grpc-port",
        "--rest-api-timeout-in-ms": "here it is --request-timeout, in seconds",
        "--file-system-poll-wait-seconds": "here it is --poll-seconds",
        "--model-config-file-poll-wait-seconds": "here it is --config-poll-seconds",
        "--monitoring-config-file": "metrics are at /monitoring/prometheus/metrics without it",
        "--enable-batching": "leave it out: requests are always run together",
        "--batching-parameters-file": "here it is --max-batch-rows and --workers",
    }

    model_base_path: AnyPath | None = setting(
        None,
        "folder with a directory for each version, such as export/peterrec, or one version of it",
    )
    model_config_file: AnyPath | None = setting(
        None, "TensorFlow Serving's models.config, for several models"
    )
    write_config: AnyPath | None = setting(
        None,
        "serve nothing: write TensorFlow Serving's configs, two clients and a how-to into this "
        "folder, such as export",
        metavar="DIR",
    )
    model_name: str = setting("peterrec", "name of the model in --model-base-path")
    host: str = setting("127.0.0.1", "address to listen on; the default is this machine alone")
    proxy_host: Sequence[str] = setting(
        (), "names under which a proxy on this machine asks for its clients", metavar="NAME"
    )
    port: int = setting(8501, "of REST and the page; 0 takes any free one", check=not_negative)
    grpc_port: int = setting(8500, "0 takes any free one, -1 none")
    titles: AnyPath | None = setting(
        None, "CSV with item_id and title, for the page", metavar="FILE"
    )
    trust: bool = setting(
        False, "load models that may do more than compute, such as read and write files"
    )
    cors: bool = setting(False, "let web pages of other origins ask")
    monitoring: bool = setting(
        True,
        "whether metrics are at /monitoring/prometheus/metrics",
        no_help="no metrics at /monitoring/prometheus/metrics",
    )
    poll_seconds: float = setting(
        1.0, "between looks for new versions; 0 for none", check=not_negative
    )
    config_poll_seconds: float = setting(
        0.0, "between looks into --model-config-file; 0 for none", check=not_negative
    )
    workers: int = setting(0, "runs at a time; 0 for one a processor", check=not_negative)
    max_batch_rows: int = setting(256, "histories that are run together", check=positive_number)
    max_batch_bytes: int = setting(
        4 << 20, "bytes of histories that are run together", check=positive_number
    )
    max_rows: int = setting(4096, "histories of one request", check=positive_number)
    max_waiting: int = setting(1000, "requests that may wait to be run", check=positive_number)
    max_waiting_bytes: int = setting(
        256 << 20, "bytes of all requests that are not answered yet", check=positive_number
    )
    max_head_bytes: int = setting(
        64 << 10, "bytes of a request's line and headers", check=positive_number
    )
    max_body_bytes: int = setting(4 << 20, "bytes of one request", check=positive_number)
    max_values: int = setting(
        1 << 18, "brackets, braces and commas in the JSON of one request", check=positive_number
    )
    max_history_bytes: int = setting(256 << 10, "bytes of one history", check=positive_number)
    max_connections: int = setting(1024, "open at a time", check=positive_number)
    read_seconds: float = setting(
        30.0, "for a request's head to arrive, and for its body", check=positive_number
    )
    request_timeout: float = setting(
        30.0,
        "for an answer, else 504; waiting counts; 0 for any time",
        metavar="SECONDS",
        check=not_negative,
    )
    shutdown_seconds: float = setting(30.0, "for answers after SIGTERM", check=not_negative)

    @property
    def needs_tensorflow(self) -> bool:
        return self.write_config is None

    def check(self):
        ways = ("model_base_path", "model_config_file", "write_config")
        given = [name for name in ways if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                "One of `model_base_path`, `model_config_file` and `write_config` should be given. "
                f"Received: {' and '.join(given) or 'none of them'}."
            )
