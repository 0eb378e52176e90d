"""The embedded server, from its settings to its end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import grpc
import uvicorn
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from keras_peterrec.errors import InputError
from keras_peterrec.serving.server.application import Application, HttpLimits
from keras_peterrec.serving.server.batcher import Batcher
from keras_peterrec.serving.server.browser_page import BrowserPage, read_titles
from keras_peterrec.serving.server.inference import Inference
from keras_peterrec.serving.server.loaded_version import LoadedVersion
from keras_peterrec.serving.server.metrics import Metrics
from keras_peterrec.serving.server.model_config import ModelConfig, read_config_file
from keras_peterrec.serving.server.model_service import ModelService
from keras_peterrec.serving.server.model_versions import ModelVersions
from keras_peterrec.serving.server.models import Models
from keras_peterrec.serving.server.prediction_service import PredictionService
from keras_peterrec.serving.server.rest_api import RestApi


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
    max_rows: int = 4096
    max_waiting: int = 1000
    max_body_bytes: int = 64 << 20
    max_history_bytes: int = 32 << 20
    max_connections: int = 1024
    read_seconds: float = 30.0
    shutdown_seconds: float = 30.0

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


def serve(settings, announce=None):
    """Answers until the process is told to end.

    SIGTERM or SIGINT ends it: it takes no more connections, answers what it has taken, and
    returns.

    Args:
        settings: ServerSettings.
        announce: callable (http port, gRPC port or None), called once requests are answered.

    Returns:
        dict of `http_port`, `grpc_port` and `requests`.

    Raises:
        InputError: a setting cannot be used, a port is taken, or a model cannot answer.
    """
    server = _Server(settings, announce or (lambda *_: None))
    runner = asyncio.Runner(loop_factory=_loop_factory())
    # Uvicorn raises the signal once more when it has ended; there is more to end then.
    before = {sig: signal.signal(sig, _ignore) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        with runner:
            return runner.run(server.run())
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


class _Server:
    def __init__(self, settings, announce):
        self.settings = settings
        self.announce = announce
        self.configs = settings.configs()
        self.metrics = Metrics()
        self.batcher = Batcher(
            settings.workers or os.cpu_count() or 1, settings.max_batch_rows, settings.max_rows,
            settings.max_waiting, self._ran,
        )  # fmt: skip
        self.inference = Inference(self.batcher, settings.max_history_bytes)
        self.titles = read_titles(settings.titles) if settings.titles else {}

    async def run(self):
        settings = self.settings
        models = Models(
            self.configs,
            lambda config: ModelVersions(config, LoadedVersion, _tell, self._loaded),
        )
        with contextlib.closing(_listen(settings.host, settings.port)) as listener:
            try:
                await models.start()
                rpc, grpc_port = await self._start_grpc(models)
                watchers = [asyncio.create_task(task) for task in self._watchers(models)]
                port = listener.getsockname()[1]
                http = self._http(models)
                self.announce(port, grpc_port)
                await http.serve(sockets=[listener])
                for watcher in watchers:
                    watcher.cancel()
                if rpc:
                    await rpc.stop(settings.shutdown_seconds)
            finally:
                models.close()
                self.batcher.close()
        requests = self.metrics.total("request_count")
        return {"http_port": port, "grpc_port": grpc_port, "requests": requests}

    def _http(self, models):
        settings = self.settings
        application = Application(
            RestApi(models, self.inference, self.metrics),
            self.metrics if settings.monitoring else None,
            BrowserPage(models, self.titles),
            HttpLimits(settings.max_body_bytes, settings.read_seconds, settings.max_connections),
            settings.cors,
        )
        return uvicorn.Server(
            uvicorn.Config(
                application, http="httptools", ws="none", lifespan="off", interface="asgi3",
                access_log=False, log_config=None, server_header=False, proxy_headers=False,
                timeout_graceful_shutdown=settings.shutdown_seconds, backlog=2048,
            )
        )  # fmt: skip

    async def _start_grpc(self, models):
        settings = self.settings
        if settings.grpc_port < 0:
            return None, None
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=settings.max_connections,
        )
        predictions = PredictionService(models, self.inference, self.metrics)
        management = ModelService(models, {c.base_path for c in self.configs.values()})
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(management, server)
        try:
            port = server.add_insecure_port(f"{_bracketed(settings.host)}:{settings.grpc_port}")
        except RuntimeError as error:
            raise _taken("grpc_port", settings.host, settings.grpc_port) from error
        await server.start()
        return server, port

    def _watchers(self, models):
        settings = self.settings
        if settings.poll_seconds > 0:
            yield _again(settings.poll_seconds, models.refresh)
        if settings.config_poll_seconds > 0 and settings.model_config_file:

            async def reload():
                await models.replace(settings.configs())

            yield _again(settings.config_poll_seconds, reload)

    def _ran(self, signature, requests, rows, seconds):
        self.metrics.observe(
            "runtime_latency", seconds * 1e6, model_name=signature.model, API="Predict",
            runtime="TF1",
        )  # fmt: skip
        self.metrics.observe(
            "batching_session:processed_batch_size", rows, model_name=signature.model
        )

    def _loaded(self, path, version):
        self.metrics.observe(
            "model_warmup_latency", version.warmup_seconds * 1e6, model_path=str(path)
        )


async def _again(seconds, call):
    while True:
        await asyncio.sleep(seconds)
        try:
            await call()
        except Exception as error:  # what is served goes on being served
            _tell(f"{type(error).__name__}: {error}")


def _loop_factory():
    try:
        import uvloop
    except ImportError:  # where it cannot be built, such as Windows
        return None
    return uvloop.new_event_loop


def _listen(host, port):
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise _taken("port", host, port) from error


def _taken(name, host, port):
    return InputError(
        f"`{name}` should be a free port of `host`. Received: `host` = {host!r}, "
        f"`{name}` = {port!r}."
    )


def _bracketed(host):
    return f"[{host}]" if ":" in host else host


def _tell(text):
    print(f"keras-peterrec: {text}", file=sys.stderr, flush=True)


def _ignore(*_):
    """A handler that lets the server end by itself."""
