"""What one request, and all of them together, may cost: rows, bytes, time.

The numbers are in `ServeSettings`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_peterrec.server.errors import DEADLINE_EXCEEDED, UNAVAILABLE, ServingError, invalid

# Reading a request of this many bytes takes long enough to be worth the way to another thread.
LARGE_BYTES = 1 << 14
# One thread for all of them: it shares Python's lock with the loop, which several would starve.
_READER = ThreadPoolExecutor(1, thread_name_prefix="read")


def check_rows(shapes: Iterable[Sequence[int]], max_rows: int) -> None:
    """Raises a ServingError if one of these shapes has more than `max_rows` rows."""
    rows = max((shape[0] for shape in shapes if len(shape)), default=1)
    if rows > max_rows:
        raise invalid("Task size ", rows, " is larger than maximum input batch size ", max_rows)


def check_values(body: bytes, max_values: int) -> None:
    """Raises a ServingError if the JSON of a body has more than `max_values` values or so.

    It counts brackets, braces and commas, those inside of strings too: a thousandth of the time in
    which they are parsed, and none of the memory.
    """
    if len(body) <= max_values:
        return
    # NumPy lets other threads run meanwhile, and counts a large body faster.
    content = np.frombuffer(body, np.uint8)
    marks = sum(int(np.count_nonzero(content == mark)) for mark in b"[{,")
    if marks > max_values:
        raise invalid(
            f"A request should have at most {max_values} brackets, braces and commas. "
            f"Received: {marks}. Send fewer rows at a time."
        )


class ByteBudget:
    """Counts the bytes that all requests hold, and refuses a request that would be too much.

    A request that holds little, and one that is alone, is never refused: a few large requests
    must not keep all the small ones out, and one request has a limit of its own.

    Args:
        message: what a client that is refused is told.
    """

    _SMALL_BYTES = 1 << 16

    def __init__(self, limit: int, message: str) -> None:
        self.limit = limit
        self.message = message
        self.held = 0

    @contextlib.contextmanager
    def share(self) -> Any:
        """Yields a function that takes this many bytes more; at the end all are given back.

        The function raises a ServingError if the other requests hold too much.
        """
        own = 0

        def hold(size):
            nonlocal own
            others = self.held - own
            if own + size > self._SMALL_BYTES and others and self.held + size > self.limit:
                raise ServingError(UNAVAILABLE, self.message)
            own += size
            self.held += size

        try:
            yield hold
        finally:
            self.held -= own


async def within(seconds: float, call: Awaitable[Any]) -> Any:
    """The result of a coroutine if it is there in time; 0 seconds are no limit.

    If not, the coroutine is cancelled: what waits in a queue leaves it and never runs; a run
    that has begun goes on, since TensorFlow cannot be interrupted, and its answer is dropped.

    Raises:
        ServingError: if it takes longer.
    """
    if not seconds:
        return await call
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await call
    except TimeoutError:
        if not timer.expired():  # a TimeoutError that the call itself raised
            raise
        raise ServingError(
            DEADLINE_EXCEEDED, f"The request was not answered within {seconds:.3g} seconds"
        ) from None


async def in_thread_if_large(size: int, call: Callable[..., Any], *arguments: Any) -> Any:
    """`call(*arguments)`, computed in a thread if it works on many bytes.

    The event loop answers all clients, so nothing in it may take long. For a small request the
    way to a thread and back would take longer than the call.
    """
    if size < LARGE_BYTES:
        return call(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_READER, call, *arguments)
