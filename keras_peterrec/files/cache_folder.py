"""The folder of what can be made again: downloads and compiled programs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns our folder in the user's cache: under `XDG_CACHE_HOME`, or else `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keras-peterrec"
