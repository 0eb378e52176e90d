"""What listens, and what it is made of."""

import asyncio
import contextlib
import functools
import os
import socket
import sys

import grpc
import uvicorn
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from keras_peterrec.errors import InputError
from keras_peterrec.serving.server.application import Application, HttpLimits
from keras_peterrec.serving.server.batch_limits import BatchLimits
from keras_peterrec.serving.server.batcher import Batcher
from keras_peterrec.serving.server.browser_page import BrowserPage, read_titles
from keras_peterrec.serving.server.health_service import HealthService
from keras_peterrec.serving.server.http_connection import ConnectionLimits, HttpConnection
from keras_peterrec.serving.server.http_server import HttpServer
from keras_peterrec.serving.server.http_warmup import warm_http
from keras_peterrec.serving.server.inference import Inference
from keras_peterrec.serving.server.loaded_version import LoadedVersion
from keras_peterrec.serving.server.metrics import Metrics
from keras_peterrec.serving.server.model_service import ModelService
from keras_peterrec.serving.server.model_versions import ModelVersions
from keras_peterrec.serving.server.models import Models
from keras_peterrec.serving.server.prediction_service import PredictionService
from keras_peterrec.serving.server.rest_api import RestApi

_BACKLOG = 2048
_IDLE_SECONDS = 75  # of a connection that is kept for the next request


class Server:
    """REST, gRPC and the watch over versions, in one event loop.

    Args:
        settings: ServerSettings.
        announce: callable (http port, gRPC port or None), called once requests are answered.

    Raises:
        InputError: a setting cannot be used.

    Example:

    >>> asyncio.run(Server(ServerSettings("export/peterrec"), print).run())
    """

    def __init__(self, settings, announce):
        self.settings = settings
        self.announce = announce
        self.configs = settings.configs()
        self.metrics = Metrics()
        limits = BatchLimits(
            settings.max_batch_rows,
            settings.max_batch_bytes,
            settings.max_rows,
            settings.max_waiting,
            settings.max_waiting_bytes,
        )
        self.batcher = Batcher(settings.workers or os.cpu_count() or 1, limits, self._ran)
        self.inference = Inference(self.batcher, settings.max_history_bytes)
        self.titles = read_titles(settings.titles) if settings.titles else {}
        self._http = None
        self._stopped = False

    def stop(self):
        """Ends `run` once what came is answered. Any thread may call it."""
        self._stopped = True
        if self._http:
            self._http.should_exit = True

    async def run(self):
        """Answers until it is stopped, or the process is told to end by a signal.

        Returns:
            dict of `http_port`, `grpc_port` and `requests`.

        Raises:
            InputError: a port is taken, or a model cannot answer.
        """
        settings = self.settings
        models = Models(
            self.configs,
            lambda config: ModelVersions(config, LoadedVersion, _tell, self._loaded),
        )
        # Bound before the models are loaded, so that a taken port is told at once; listened on
        # only after, so that who is let in is answered.
        with contextlib.closing(_bound(settings.host, settings.port)) as listener:
            port, grpc_port = listener.getsockname()[1], None
            try:
                await models.start()
                if not self._stopped:
                    grpc_port = await self._answer(models, listener)
            finally:
                models.close()
                self.batcher.close()
        requests = self.metrics.total("request_count")
        return {"http_port": port, "grpc_port": grpc_port, "requests": requests}

    async def _answer(self, models, listener):
        rpc, grpc_port = await self._start_grpc(models)
        watchers = [asyncio.create_task(task) for task in self._watchers(models)]

        async def stop_others():
            if rpc:
                await rpc.stop(self.settings.shutdown_seconds)

        self._http = self._make_http(models, stop_others)
        listener.listen(_BACKLOG)
        try:
            if self._stopped:  # while gRPC was started
                return grpc_port
            serving = asyncio.create_task(self._http.serve(sockets=[listener]))
            with self.metrics.paused():
                await warm_http(listener.getsockname(), models)
            if not self._stopped:
                self.announce(listener.getsockname()[1], grpc_port)
            await serving
        finally:
            for watcher in watchers:
                watcher.cancel()
            await stop_others()
        return grpc_port

    def _make_http(self, models, stop_others):
        settings = self.settings
        application = Application(
            RestApi(models, self.inference, self.metrics, settings.request_timeout),
            self.metrics if settings.monitoring else None,
            BrowserPage(models, self.titles),
            HttpLimits(
                settings.max_body_bytes,
                settings.read_seconds,
                settings.max_connections,
                settings.max_waiting_bytes,
            ),
            settings.cors,
        )
        limits = ConnectionLimits(
            settings.max_head_bytes, settings.read_seconds, settings.max_connections
        )
        config = uvicorn.Config(
            application,
            http=functools.partial(HttpConnection, limits),
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            log_level="error",
            timeout_keep_alive=_IDLE_SECONDS,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
        return HttpServer(config, self.stop, stop_others)

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
        predictions = PredictionService(
            models, self.inference, self.metrics, settings.request_timeout
        )
        management = ModelService(models, {c.base_path for c in self.configs.values()})
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(management, server)
        health = HealthService(
            lambda: not self._stopped and all(model.available for model in models)
        )
        server.add_generic_rpc_handlers([health.handler()])
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
            "runtime_latency",
            seconds * 1e6,
            model_name=signature.model,
            API="Predict",
            runtime="TF1",
        )
        self.metrics.observe(
            "batching_session:processed_batch_size", rows, model_name=signature.model
        )

    def _loaded(self, path, version):
        self.metrics.observe(
            "model_warmup_latency", version.warmup_seconds * 1e6, model_path=str(path)
        )


async def _again(seconds, call):
    told = None
    while True:
        await asyncio.sleep(seconds)
        try:
            await call()
            told = None
        except Exception as error:  # what is served goes on being served
            before, told = told, f"{type(error).__name__}: {error}"
            if told != before:
                _tell(told)


def _bound(host, port):
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        # With the protocol named, asyncio sends what it has at once: otherwise an answer's body
        # waits 40 ms for the client's word that the headers came.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise _taken("port", host, port) from error
    return listener


def _taken(name, host, port):
    return InputError(
        f"`{name}` should be a free port of `host`. Received: `host` = {host!r}, "
        f"`{name}` = {port!r}."
    )


def _bracketed(host):
    return f"[{host}]" if ":" in host else host


def _tell(text):
    print(f"keras-peterrec: {text}", file=sys.stderr, flush=True)
