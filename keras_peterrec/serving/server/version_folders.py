"""Version directories on disk."""

import re
from pathlib import Path

_NUMBER = re.compile(r"[0-9]{1,18}")


def version_folders(base_path):
    """The versions below a folder; other names are ignored.

    Args:
        base_path: path.

    Returns:
        dict from number to path.
    """
    try:
        entries = sorted(Path(base_path).iterdir())
        return {
            int(entry.name): entry
            for entry in entries
            if _NUMBER.fullmatch(entry.name) and entry.is_dir()
        }
    except OSError:
        return {}


def contents(folder):
    """Names, sizes and times of a version's files: whether it has changed.

    Args:
        folder: path.

    Returns:
        tuple.
    """
    found = []
    try:
        for path in sorted(Path(folder).rglob("*")):
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns))
    except OSError:
        pass  # what vanishes meanwhile has changed
    return tuple(found)
