"""A server in a thread, and a client that sends whatever a test wants."""

import asyncio
import contextlib
import faulthandler
import http.client
import json
import threading
from types import SimpleNamespace

from keras_peterrec.server.server import Server
from keras_peterrec.settings.serve import ServeSettings


@contextlib.contextmanager
def running(**settings):
    """Yields a namespace with `port`, `grpc_port`, `server` and `result`."""
    settings = {"port": 0, "grpc_port": -1, "poll_seconds": 0.1, **settings}
    ready, state = threading.Event(), SimpleNamespace(port=None, error=None)

    def announce(port, grpc_port):
        state.port, state.grpc_port = port, grpc_port
        ready.set()

    def work():
        try:
            state.server = Server(ServeSettings(**settings), announce)
            state.result = asyncio.run(state.server.run())
        except BaseException as error:
            state.error = error
        ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(120)
    if state.error:
        raise state.error
    try:
        yield state
    finally:
        state.server.stop()
        thread.join(120)
    if thread.is_alive():
        faulthandler.dump_traceback()  # of all threads: what it waits for
    assert not thread.is_alive()
    if state.error:
        raise state.error


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
