"""A server in a thread, and a client that sends whatever a test wants."""

import asyncio
import contextlib
import functools
import http.client
import json
import sys
import threading
from types import SimpleNamespace

from keras_peterrec.server.server import Server
from keras_peterrec.settings.serve import ServeSettings


@functools.cache
def shared_loop():
    """The event loop, in a thread of its own, of all servers of this process.

    gRPC's asyncio server expects one loop in a process, which is what a served process has. With
    a loop for each server, servers sometimes never ended.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="servers", daemon=True).start()
    return loop


def run_server(server):
    """The future of what `Server.run` returns."""
    return asyncio.run_coroutine_threadsafe(server.run(), shared_loop())


@contextlib.contextmanager
def running(**settings):
    """Yields a namespace with `port`, `grpc_port`, `server` and, after the end, `result`."""
    settings = {"port": 0, "grpc_port": -1, "poll_seconds": 0.1, **settings}
    ready, state = threading.Event(), SimpleNamespace(port=None)

    def announce(port, grpc_port):
        state.port, state.grpc_port = port, grpc_port
        ready.set()

    state.server = Server(ServeSettings(**settings), announce)
    run = run_server(state.server)
    run.add_done_callback(lambda _: ready.set())
    assert ready.wait(120)
    if run.done():
        run.result()  # raises why it could not start
    try:
        yield state
    finally:
        state.server.stop()
        try:
            state.result = run.result(120)
        except TimeoutError:
            asyncio.run_coroutine_threadsafe(_print_tasks(), shared_loop()).result(10)
            raise


async def _print_tasks():
    """What the servers wait for."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


def ask(port, method, path, body=None, headers=None, connection=None):
    """Status, body and headers of one answer."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        own.request(method, path, body, headers or {})
        response = own.getresponse()
        return response.status, response.read(), response
    finally:
        if connection is None:
            own.close()


def predict(port, model, body, version=""):
    """Status and JSON of a predict request."""
    status, text, _ = ask(port, "POST", f"/v1/models/{model}{version}:predict", json.dumps(body))
    return status, json.loads(text)
