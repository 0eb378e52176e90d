"""Where a benchmark writes."""

from pathlib import Path

from keras_peterrec.errors import InputError


def check_new_folder(out):
    """Refuses a folder that holds something.

    Args:
        out: path.

    Raises:
        InputError: it does.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"`out` should be a new folder. Received: {str(out)!r}, which holds something."
        )
