"""A model of a server on this machine, by its URL."""

import http.client
import ipaddress
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from keras_peterrec.errors import InputError

_MODELS = "/v1/models/"
_SECONDS = 10


@dataclass(frozen=True)
class LoopbackModel:
    """Where a model answers; load is put on no other machine.

    Args:
        host: str. A loopback address.
        port: int.
        path: str, such as `"/v1/models/peterrec"`.

    Example:

    >>> LoopbackModel.parse("http://127.0.0.1:8501/v1/models/peterrec").port
    8501
    """

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url):
        """Reads a URL.

        Args:
            url: str.

        Returns:
            LoopbackModel.

        Raises:
            InputError: it names no model, or a host that is not this machine.
        """
        parts = urlsplit(url)
        try:
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            host = None
        if parts.scheme != "http" or not host or not parts.path.startswith(_MODELS) or parts.query:
            raise InputError(
                "`url` should be a model's address such as "
                f"http://127.0.0.1:8501/v1/models/NAME. Received: `url` = {url!r}."
            )
        if not _is_loopback(host):
            raise InputError(
                "`url` should be on this machine (127.0.0.1, ::1 or localhost): the benchmark "
                f"puts load on no other. Received: `url` = {url!r}."
            )
        return cls(host, port, parts.path.rstrip("/"))

    def __str__(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"

    def signatures(self):
        """Names of the signatures that read one `history` and nothing else.

        Raises:
            InputError: it does not answer, or not as TensorFlow Serving does.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_SECONDS)
        try:
            connection.request("GET", f"{self.path}/metadata")
            answer = json.loads(connection.getresponse().read())
            if "error" in answer:
                raise ValueError(answer["error"])
            found = answer["metadata"]["signature_def"]["signature_def"]
            return [n for n, each in found.items() if list(each.get("inputs", {})) == ["history"]]
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
            raise InputError(
                f"`url` should be a model that answers. Received: {str(self)!r}: {error}."
            ) from error
        finally:
            connection.close()


def _is_loopback(host):
    """Names are not resolved: only `localhost` is known to be here."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
