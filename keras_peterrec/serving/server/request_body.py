"""Reading the body of an HTTP request, within limits of size and time."""

import asyncio
import zlib

from keras_peterrec.serving.server.errors import (
    DEADLINE_EXCEEDED,
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    ServingError,
)


class ClientGone(Exception):
    """The client hung up before its request was whole."""


async def read_body(headers, receive, max_bytes, seconds, hold):
    """The body of a request, inflated where it says `Content-Encoding: gzip`.

    Args:
        headers: dict of bytes.
        receive: the ASGI channel.
        max_bytes: int. More is refused, compressed or not.
        seconds: float. Time for the whole body.
        hold: callable; see `ByteBudget.share`. It is told of each piece.

    Returns:
        bytes.

    Raises:
        ServingError: it is too large (413) or too slow (408), or no gzip, or others hold too
            much (503).
        ClientGone: there is nobody to answer.
    """
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(seconds):
            body = await _gather(receive, max_bytes, hold)
    except TimeoutError:
        raise ServingError(
            DEADLINE_EXCEEDED, f"The request did not arrive within {seconds:g} seconds", 408
        ) from None
    if headers.get(b"content-encoding", b"").strip().lower() == b"gzip":
        body = _inflated(body, max_bytes)
        hold(len(body))
    return body


async def _gather(receive, max_bytes, hold):
    parts, size, more = [], 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        part, more = event.get("body", b""), event.get("more_body", False)
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        hold(len(part))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _inflated(body, max_bytes):
    stream = zlib.decompressobj(wbits=31)
    try:
        inflated = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        inflated = b""
    if len(inflated) > max_bytes:
        raise _too_large(max_bytes)
    if not stream.eof:
        raise ServingError(INVALID_ARGUMENT, "JSON Parse error: The document is empty")
    return inflated


def _too_large(max_bytes):
    return ServingError(
        RESOURCE_EXHAUSTED, f"The request should have at most {max_bytes} bytes", 413
    )
