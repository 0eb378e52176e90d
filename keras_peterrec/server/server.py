"""The server: what it is made of, and its life from start to end."""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc
import uvicorn
from grpc_health.v1 import health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from keras_peterrec.errors import InputError
from keras_peterrec.log.titles import read_titles
from keras_peterrec.server.application import Application
from keras_peterrec.server.batcher import Batcher
from keras_peterrec.server.browser_page import BrowserPage
from keras_peterrec.server.grpc_services import Health, ModelService, PredictionService
from keras_peterrec.server.inference import Inference
from keras_peterrec.server.loaded_version import LoadedVersion
from keras_peterrec.server.metrics import Metrics
from keras_peterrec.server.model_config import model_configs
from keras_peterrec.server.model_versions import ModelVersions
from keras_peterrec.server.models import Models
from keras_peterrec.server.rest_api import RestApi
from keras_peterrec.server.uvicorn_internals import HttpConnection, HttpServer
from keras_peterrec.settings.serve import ServeSettings
from keras_peterrec.types import Json

_BACKLOG = 2048  # connections that the system keeps until they are accepted
_IDLE_SECONDS = 75  # for which a connection is kept for the next request
_HEALTH_SECONDS = 1
_SWITCH_SECONDS = 0.001
_LOADING_SECONDS = 3  # for loading to end by itself after SIGTERM


def run_server(settings: ServeSettings, announce: Callable[..., None]) -> Json:
    """Serves until the process is told to end.

    On SIGTERM or SIGINT it takes no more connections, answers what it has taken, and returns. If
    it is still loading models by then, the process ends with status 0 a few seconds later: nothing
    in TensorFlow can end a load halfway, which may take minutes. On SIGHUP it reads its
    configuration again and tries again what has failed to load.

    Args:
        announce: callable (HTTP port, gRPC port or None), called once requests are answered.

    Returns:
        dict of `http_port`, `grpc_port` and `requests`.

    Raises:
        InputError: if a setting cannot be used, a port is taken, or a model cannot be served.
    """
    server = Server(settings, announce)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    # For a signal while models are loaded. Later Uvicorn handles signals itself; when it has
    # ended it raises them once more, and these handlers keep that from ending the process.
    end = threading.Timer(_LOADING_SECONDS, os._exit, [0])
    end.daemon = True

    def stop(*_):
        if server.loading and not end.ident:  # a thread can be started once
            _tell("ends before its models are loaded")
            end.start()
        server.stop()

    handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM), stop)
    if hasattr(signal, "SIGHUP"):  # Windows has none
        handlers[signal.SIGHUP] = lambda *_: server.reload()
    before = {sig: signal.signal(sig, handler) for sig, handler in handlers.items()}
    _spare_the_loop()
    try:
        with runner:
            return runner.run(server.run())
    finally:
        end.cancel()
        for sig, handler in before.items():
            signal.signal(sig, handler)


class Server:
    """REST, gRPC and the watch over versions, in one event loop.

    One loop reads, batches and writes, so that what it shares needs no locks; the runs, which
    release Python's lock, are on the threads of the batcher.

    Attributes:
        loading: bool. Whether the first models are not loaded yet, so that nothing is answered.

    Raises:
        InputError: if a setting cannot be used.
    """

    def __init__(self, settings: ServeSettings, announce: Callable[..., None]) -> None:
        self.settings = settings
        self.announce = announce
        self.loading = True
        self.configs = model_configs(settings)
        self.metrics = Metrics()
        self.batcher = Batcher(settings, self.metrics.observe_run)
        self.inference = Inference(self.batcher, settings, count_events=self.metrics.count_events)
        self.titles = read_titles(settings.titles) if settings.titles else {}
        self._http: Any = None
        self._models: Models | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._waits_for = None

    def stop(self) -> None:
        """Makes `run` return once the requests that came are answered. Any thread may call it."""
        self._stopped = True
        if self._http:
            self._http.should_exit = True

    def reload(self) -> None:
        """Reads the configuration and looks for versions once more. Any thread may call it."""
        if self.loading:
            _tell("SIGHUP: its models are being loaded already")
        else:
            asyncio.run_coroutine_threadsafe(self._reload(), self._loop)

    async def _read_config(self):
        await self._models.replace(model_configs(self.settings))

    async def _reload(self):
        try:
            if self.settings.model_config_file:
                await self._read_config()
            await self._models.refresh(again=True)
            _tell("SIGHUP: has read its configuration and looked for versions")
        except Exception as error:  # what is served goes on being served
            _tell(f"SIGHUP: {type(error).__name__}: {error}")

    async def run(self) -> Json:
        """Serves until it is stopped, or a signal tells the process to end; see `run_server`."""
        settings, self._loop = self.settings, asyncio.get_running_loop()
        load = functools.partial(LoadedVersion, trust=True) if settings.trust else LoadedVersion
        models = self._models = Models(
            self.configs,
            lambda config: ModelVersions(config, load, _tell, self.metrics.observe_load),
        )
        # The port is bound before the models are loaded, so that a taken port is told at once.
        # It is listened on only afterwards, so that whoever can connect gets an answer.
        with contextlib.closing(_bind(settings.host, settings.port)) as listener:
            port, grpc_port = listener.getsockname()[1], None
            try:
                await models.start(self._wait if settings.poll_seconds > 0 else None)
                self.loading = False
                if not self._stopped:
                    grpc_port = await self._serve(models, listener)
            finally:
                models.close()
                self.batcher.close()
        return {"http_port": port, "grpc_port": grpc_port, "requests": self.metrics.requests()}

    async def _wait(self, names):
        """Waits until empty folders are looked at again; returns whether to go on."""
        if names != self._waits_for:
            self._waits_for = names
            _tell(f"waits for the first version of {', '.join(names)}")
        await asyncio.sleep(self.settings.poll_seconds)
        return not self._stopped

    async def _serve(self, models, listener):
        health = Health(models)
        rpc, grpc_port = await self._start_grpc(models, health)
        watchers = [asyncio.create_task(task) for task in self._watchers(models, health)]

        async def stop_grpc():
            await health.stop()  # first, so that whoever watches it sends no more
            if rpc:
                await rpc.stop(self.settings.shutdown_seconds)

        self._http = self._make_http(models, stop_grpc)
        listener.listen(_BACKLOG)
        try:
            if not self._stopped:  # by a signal while gRPC was started
                serving = asyncio.create_task(self._http.serve(sockets=[listener]))
                self.announce(listener.getsockname()[1], grpc_port)
                await serving
        finally:
            for watcher in watchers:
                watcher.cancel()
            await stop_grpc()
        return grpc_port

    def _make_http(self, models, stop_others):
        settings = self.settings
        application = Application(
            RestApi(models, self.inference, self.metrics, settings),
            self.metrics,
            BrowserPage(models, self.titles),
            settings,
        )
        config = uvicorn.Config(
            application,
            http=functools.partial(HttpConnection, settings),
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
        return HttpServer(config, stop_others)

    async def _start_grpc(self, models, health):
        settings = self.settings
        await health.update()
        if settings.grpc_port < 0:
            return None, None
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # or a second server could take the same port
            ],
            maximum_concurrent_rpcs=settings.max_connections,
        )
        predictions = PredictionService(
            models, self.inference, self.metrics, settings.request_timeout
        )
        management = ModelService(models, {c.base_path for c in self.configs.values()})
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predictions, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(management, server)
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            port = server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise _port_error("grpc_port", settings.host, settings.grpc_port) from error
        await server.start()
        return server, port

    def _watchers(self, models, health):
        settings = self.settings
        yield _repeat(_HEALTH_SECONDS, health.update)
        if settings.poll_seconds > 0:
            yield _repeat(settings.poll_seconds, models.refresh)
        if settings.config_poll_seconds > 0 and settings.model_config_file:
            yield _repeat(settings.config_poll_seconds, self._read_config)


def _spare_the_loop():
    """Keeps what else Python does from holding up the loop, which answers all clients."""
    # Other threads give Python's lock back after a millisecond, not five.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Half a million objects of TensorFlow stay for ever: to look through them takes a tenth of a
    # second, in which nobody is answered.
    gc.collect()
    gc.freeze()


async def _repeat(seconds, call):
    """Calls again and again; a problem is told once, until it changes or goes away."""
    message = None
    while True:
        await asyncio.sleep(seconds)
        try:
            await call()
            message = None
        except Exception as error:  # what is served goes on being served
            before, message = message, f"{type(error).__name__}: {error}"
            if message != before:
                _tell(message)


def _bind(host, port):
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        # asyncio turns off Nagle's algorithm only if the protocol is named here. With Nagle the
        # body of an answer waits 40 ms until the client has acknowledged the headers.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise _port_error("port", host, port) from error
    return listener


def _port_error(name, host, port):
    return InputError(
        f"`{name}` should be a free port of `host`. Received: `host` = {host!r}, "
        f"`{name}` = {port!r}."
    )


def _loop_factory():
    try:
        import uvloop
    except ImportError:  # it cannot be built on Windows
        return None
    return uvloop.new_event_loop


def _tell(text):
    print(f"keras-peterrec: {text}", file=sys.stderr, flush=True)
