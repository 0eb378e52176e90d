"""JSON files that are either whole or not there."""

import json
import os
from pathlib import Path

from keras_peterrec.errors import InputError


def write_json(path, content):
    """Writes `content` beside `path` and renames it into place."""
    beside = Path(f"{path}.writing")
    beside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(beside, path)


def read_json(path, argument):
    """Reads a JSON file; one clear line about `argument` if there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"`{argument}` should be a folder with {Path(path).name}. "
            f"Received: {str(Path(path).parent)!r}, which has none."
        ) from error
    except ValueError as error:
        raise InputError(
            f"`{argument}` should hold valid JSON. Received: {str(path)!r}: {error}."
        ) from error


def check_format(content, version, argument):
    """Refuses a file that another version of its format wrote."""
    if content.get("format_version") != version:
        raise InputError(
            f"`{argument}` should be of format version {version}. "
            f"Received: version {content.get('format_version')!r}."
        )
