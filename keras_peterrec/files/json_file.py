"""JSON files: written whole, read with one clear line where they cannot be."""

import contextlib
import csv
import json
import operator
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import write_text


def write_json(path, content):
    """Writes `content` to `path`, all of it or nothing; NumPy's integers are integers."""
    write_text(
        path, json.dumps(content, indent=2, ensure_ascii=False, default=operator.index) + "\n"
    )


def read_json(path, argument):
    """Reads a JSON file; one clear line about `argument` if there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        what = f"which has one that cannot be read: {error.strerror}"
        raise InputError(
            f"`{argument}` should be a folder with {Path(path).name}. "
            f"Received: {str(Path(path).parent)!r}, "
            f"{_what_is_there(Path(path).parent) if is_missing else what}."
        ) from error
    except (ValueError, RecursionError) as error:  # nested too deeply
        raise InputError(
            f"`{argument}` should hold valid JSON. Received: {str(path)!r}, which is damaged or "
            f"cut short: {error}. Copy it again, or run the command again that wrote it."
        ) from error


def _what_is_there(folder):
    """What a folder is that lacks a file, and what to do; for messages."""
    if not folder.exists():
        return "which does not exist"
    if (folder / "task.json").is_file():
        host = _run(folder).get("settings", {}).get("host")
        return "a task bundle" + (f"; its host was {host!r} when it was trained" if host else "")
    if (folder / "host.json").is_file():
        return "a host"
    if (folder / "run.json").is_file() and not (folder / "metrics.json").is_file():
        return (
            f"a run of {_run(folder).get('command')} that was stopped before it was done, or still "
            "runs: give the same command again, and it goes on"
        )
    return "which has none"


def _run(folder):
    """The content of `run.json`, a dict; empty where it cannot be read."""
    try:
        content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_format(path, version, argument):
    """`read_json` of a file that says its format, and is refused where that is another."""
    content = read_json(path, argument)
    found = content.get("format_version") if isinstance(content, dict) else None
    if found != version:
        raise InputError(
            f"`{argument}` should be of format version {version}. "
            f"Received: {str(path)!r}, version {found!r}."
        )
    return content


@contextlib.contextmanager
def refuse_misfits(folder, argument):
    """Turns what changed settings lead to into one clear line."""
    try:
        yield
    except InputError:
        raise
    except (
        *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
        csv.Error,
    ) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"`{argument}` should hold settings that fit together. "
            f"Received: {str(folder)!r}: {reason}"
        ) from error
