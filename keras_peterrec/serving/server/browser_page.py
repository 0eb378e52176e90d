"""The page at `/`, and what it needs to know besides the REST API."""

import csv
import json
from pathlib import Path

from keras_peterrec.errors import InputError

_PAGE = Path(__file__).with_name("page.html")


class BrowserPage:
    """A page on which a person asks the tasks of an export.

    It is there only while an export of this library is served.

    Args:
        models: Models.
        titles: dict from item to title.

    Example:

    >>> BrowserPage(models, read_titles("titles.csv")).get("/tasks.json")
    (b'application/json', b'{"models": ...')
    """

    def __init__(self, models, titles):
        self._models = models
        self._titles = json.dumps(titles, ensure_ascii=False).encode("utf-8", "replace")
        self._html = _PAGE.read_bytes()

    def get(self, path):
        """What stands at a path.

        Returns:
            (content type, body), or None where there is nothing.
        """
        if path not in ("/", "/tasks.json", "/titles.json"):
            return None
        described = self._described()
        if not described:
            return None
        if path == "/":
            return b"text/html; charset=utf-8", self._html
        if path == "/titles.json":
            return b"application/json", self._titles
        return b"application/json", json.dumps({"models": described}).encode()

    def _described(self):
        described = {}
        for model in self._models:
            if not model.available:
                continue
            version = model.find()
            if version.description:
                tasks = version.description.get("tasks", {})
                described[model.config.name] = {
                    "version": version.number,
                    "tasks": {name: tasks[name] for name in tasks if name in version.signatures},
                    "next_item": "serving_default" in version.signatures,
                    "examples": version.examples,
                }
        return described


def read_titles(path):
    """Titles of items from a CSV file with the columns `item_id` and `title`.

    Args:
        path: path.

    Returns:
        dict from item to title.

    Raises:
        InputError: there is no such file, or it lacks a column.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"item_id", "title"} - set(rows.fieldnames or [])
            if missing:
                raise InputError(
                    "`titles` should be a CSV file with the columns item_id and title. "
                    f"Received: {str(path)!r}, without {' and '.join(sorted(missing))}."
                )
            return {row["item_id"]: row["title"] for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"`titles` should be a CSV file that can be read. Received: {str(path)!r}: {error}."
        ) from error
