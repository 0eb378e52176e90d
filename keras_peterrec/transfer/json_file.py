"""JSON files that are either whole or not there."""

import contextlib
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
    except OSError as error:
        raise InputError(
            f"`{argument}` should be a folder with {Path(path).name}. "
            f"Received: {str(Path(path).parent)!r}, which has none."
        ) from error
    except ValueError as error:
        raise InputError(
            f"`{argument}` should hold valid JSON. Received: {str(path)!r}: {error}."
        ) from error


def check_format(content, version, argument, path=None):
    """Refuses a file, which `path` names, that another version of its format wrote."""
    found = content.get("format_version") if isinstance(content, dict) else None
    if found != version:
        where = "" if path is None else f"{str(path)!r}, "
        raise InputError(
            f"`{argument}` should be of format version {version}. "
            f"Received: {where}version {found!r}."
        )


@contextlib.contextmanager
def refuse_misfits(folder, argument):
    """Turns what changed settings lead to into one clear line."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"`{argument}` should hold settings that fit together. "
            f"Received: {str(folder)!r}: {reason}"
        ) from error
