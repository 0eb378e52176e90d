"""The folder of what can be made again: downloads and compiled programs."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Returns our folder in the user's cache: under `XDG_CACHE_HOME`, or else `~/.cache`.

    A user without a home, as a container's random number is, has it beside the temporary files.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return Path(tempfile.gettempdir()) / f"keras-peterrec-{os.getuid()}"
    return Path(base) / "keras-peterrec"
