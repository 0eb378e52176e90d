"""Hashes of a version's text files, by which a changed vocabulary is noticed.

A graph reads the lines that it finds: with a vocabulary cut short, a model loads and gives wrong
answers.
"""

import hashlib
from pathlib import Path

from keras_peterrec.log.item_table import HIDDEN
from keras_peterrec.types import AnyPath, Json


def asset_hashes(folder: AnyPath) -> dict[str, str]:
    """Computes the hashes that `export` notes, `{name: "sha256:..."}` of the files in `assets`.

    Args:
        folder: path of a version directory.
    """
    paths = sorted((Path(folder) / "assets").iterdir())
    return {path.name: _hash(path) for path in paths if path.name != HIDDEN}


def changed_assets(folder: AnyPath, description: Json) -> list[str]:
    """Finds files in `assets` that are missing or changed since the export.

    Args:
        folder: path of a version directory.
        description: dict that `export` wrote.

    Returns:
        list of str, paths below `folder`.
    """
    paths = {f"assets/{name}": noted for name, noted in description.get("assets", {}).items()}
    return [
        path
        for path, noted in paths.items()
        if not (Path(folder) / path).is_file() or _hash(Path(folder) / path) != noted
    ]


def _hash(path):
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
