"""A server's first requests, sent by itself."""

import asyncio
import base64
import json

_TIMES = 3
_SECONDS = 30


async def warm_http(address, models):
    """Asks every version's own warm-up requests over HTTP, so that no client is the first.

    A version has answered them when it was loaded; what is cold still is the way there:
    connection, parsing, batching, writing. What comes of it is not looked at.

    Args:
        address: (host, port, ...), as of a listening socket of this event loop.
        models: Models.
    """
    requests = [
        _request(model.config.name, version.number, name, inputs)
        for model in models
        for version in model.loaded
        for name, inputs in version.requests.items()
    ]
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(*address[:2])
            for request in _TIMES * requests:
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length))
            writer.close()
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
        pass  # a cold server answers as well


def _request(model, number, name, inputs):
    values = {key: _value(rows.tolist()) for key, rows in inputs.items()}
    given = values if len(values) > 1 else next(iter(values.values()))
    body = json.dumps({"signature_name": name, "inputs": given})
    if all(isinstance(value, list) for value in values.values()):
        rows = [dict(zip(values, row)) for row in zip(*values.values(), strict=True)]
        instances = rows if len(values) > 1 else given
        body = json.dumps({"signature_name": name, "instances": instances})
    head = f"POST /v1/models/{model}/versions/{number}:predict HTTP/1.1\r\nHost: localhost\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _value(value):
    if isinstance(value, list):
        return [_value(each) for each in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
