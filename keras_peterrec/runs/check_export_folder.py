"""What would be wrong with an export in TensorFlow Serving."""

from pathlib import Path

from keras_peterrec.errors import InputError


def check_export_folder(check):
    """Checks a version directory, or the newest version of an export.

    Args:
        check: path, such as `export/peterrec/1` or `export/peterrec`.

    Returns:
        dict of `path`, `checks` (names of those that ran) and `problems` (list of
        str).

    Raises:
        InputError: `check` is no folder.
    """
    from keras_peterrec.serving.checks.check_list import CHECKS, run_checks

    path = Path(check)
    if not path.is_dir():
        raise InputError(
            "`check` should be a version directory, such as export/peterrec/1. "
            f"Received: {str(check)!r}, which is no folder."
        )
    versions = [p for p in path.iterdir() if p.name.isdecimal() and p.is_dir()]
    if versions and not (path / "saved_model.pb").exists():
        path = max(versions, key=lambda version: int(version.name))
    return {"path": str(path), "checks": list(CHECKS), "problems": run_checks(path)}
