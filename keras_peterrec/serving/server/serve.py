"""A server as the only thing that a process does."""

import asyncio
import signal

from keras_peterrec.serving.server.server import Server


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
    server = Server(settings, announce or (lambda *_: None))
    runner = asyncio.Runner(loop_factory=_loop_factory())
    # While it answers, Uvicorn handles signals; it raises them once more when it has ended.
    stop = lambda *_: server.stop()
    before = {sig: signal.signal(sig, stop) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        with runner:
            return runner.run(server.run())
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _loop_factory():
    try:
        import uvloop
    except ImportError:  # where it cannot be built, such as Windows
        return None
    return uvloop.new_event_loop
