"""The page at `/`, and what it needs to know besides the REST API."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_peterrec.report.told import telling_history, what_may_be_told
from keras_peterrec.serving.signature_names import KNOWN, NEXT_ITEM, SELECT

if TYPE_CHECKING:
    from keras_peterrec.server.models import Models

_PAGE = Path(__file__).with_name("page.html")


class BrowserPage:
    """A page on which a person asks the tasks of an export.

    It is there only while an export of this library is served.

    Attributes:
        headers: list of pairs of bytes, of every answer of the page.
    """

    def __init__(self, models: Models, titles: Mapping[str, str] | None) -> None:
        self._models = models
        self._titles = json.dumps(titles, ensure_ascii=False).encode("utf-8", "replace")
        self._html = _PAGE.read_bytes()
        self.headers = [
            (b"content-security-policy", _policy(self._html)),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    def get(self, path: str) -> Any:
        """(content type, body) of a path, or `None` where there is nothing."""
        if path not in ("/", "/tasks.json", "/titles.json"):
            return None
        models = self._describe()
        if not models:
            return None
        if path == "/":
            return b"text/html; charset=utf-8", self._html
        if path == "/titles.json":
            return b"application/json", self._titles
        return b"application/json", json.dumps({"models": models}).encode()

    def _describe(self):
        """Each model's version, its tasks, and example histories.

        Of a task it says the unit of its numbers, and whether a request can say what may be
        recommended; of a model, whether it can say how many items of a history it knows, and what a
        history may tell beside its items, with an example.
        """
        models = {}
        for model in self._models:
            version = model.find() if model.available else None
            if version is None or not version.description:
                continue
            described = {NEXT_ITEM: {"unit": "score"}, **version.description.get("tasks", {})}
            models[model.config.name] = {
                "version": version.number,
                "tasks": {
                    name: {"unit": task["unit"], "selects": name + SELECT in version.signatures}
                    for name, task in described.items()
                    if name in version.signatures
                },
                "examples": version.examples,
                "told": what_may_be_told(version.description),
                "telling": _telling(version),
                "known": KNOWN in version.signatures,
            }
        return models


def _policy(html):
    """A Content-Security-Policy under which a browser runs this page's script and no other."""
    hashes = {
        tag: b" ".join(
            b"'sha256-%s'" % base64.b64encode(hashlib.sha256(text).digest())
            for text in re.findall(rb"<%s>(.*?)</%s>" % (tag, tag), html, re.DOTALL)
        )
        for tag in (b"script", b"style")
    }
    return (
        b"default-src 'none'; script-src %s; style-src %s; connect-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'" % (hashes[b"script"], hashes[b"style"])
    )


def _telling(version):
    """The first example history, with all that is read told as well; `None` where nothing is."""
    if not version.examples:
        return None
    return telling_history(version.description, version.examples[0], int(time.time()))
