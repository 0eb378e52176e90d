"""An answer in time, or none."""

import asyncio

from keras_peterrec.serving.server.errors import DEADLINE_EXCEEDED, ServingError


async def within(seconds, call):
    """What a coroutine returns, if it does so in time.

    What waits in a queue by then is taken out of it and never computed; what is being
    computed goes on, and nobody reads it.

    Args:
        seconds: float. 0 for any time.
        call: coroutine.

    Raises:
        ServingError: it did not.
    """
    if not seconds:
        return await call
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await call
    except TimeoutError:
        if not timer.expired():  # an error of its own
            raise
        raise ServingError(
            DEADLINE_EXCEEDED, f"The request was not answered within {seconds:.3g} seconds"
        ) from None
