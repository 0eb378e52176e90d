"""Uvicorn's server, which others begin and end with."""

import asyncio

import uvicorn


class HttpServer(uvicorn.Server):
    """Answers HTTP until it is stopped, and tells at once that it is.

    Args:
        config: `uvicorn.Config`.
        stopping: callable, called in the handler of a signal that ends the process.
        stop_others: callable that returns a coroutine, awaited while what was taken is
            answered.

    Example:

    >>> await HttpServer(config, tell, lambda: rpc.stop(30)).serve(sockets=[listener])
    """

    def __init__(self, config, stopping, stop_others):
        super().__init__(config)
        self._stopping = stopping
        self._stop_others = stop_others

    def handle_exit(self, sig, frame):
        """A signal has come."""
        self._stopping()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets=None):
        """Takes no more, and answers what was taken."""
        await asyncio.gather(super().shutdown(sockets), self._stop_others())
