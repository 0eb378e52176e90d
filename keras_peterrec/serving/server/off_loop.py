"""Long work beside the event loop."""

import asyncio

# Larger requests are read on another thread, so that others are answered meanwhile.
LARGE = 1 << 16


async def off_loop(size, call, *arguments):
    """What a call returns, made on another thread where it is about many bytes.

    Args:
        size: int. Bytes.
        call: callable.
        arguments: its arguments.
    """
    if size < LARGE:
        return call(*arguments)
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)
