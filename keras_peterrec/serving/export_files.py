"""Where a version directory has what, and whether its text files are those that were exported.

A graph reads the lines that it finds: with a vocabulary cut short, a model loads and gives wrong
answers. So a version notes the hashes of its text files.
"""

import hashlib
from pathlib import Path

from keras_peterrec.log.item_table import HIDDEN
from keras_peterrec.types import AnyPath, Json

FORMAT_VERSION = 5
DESCRIPTION = Path("assets.extra") / "peterrec.json"
BUNDLES = Path("assets.extra") / "tasks"
MIXED_BUNDLES = Path("assets.extra") / "mixed_tasks"
CARD = Path("assets.extra") / "README.md"
ITEMS = Path("assets.extra") / "items.csv"  # titles, where answers have them
ADDED = Path("assets.extra") / "added_items"  # those that the host's folder lacks
REPORTS = Path("assets.extra") / "reports.json"  # what the card is made of


def newest_version(path: AnyPath) -> Path:
    """The newest version in a folder with versions; any other path as it is."""
    path = Path(path)
    if (path / "saved_model.pb").is_file() or not path.is_dir():
        return path
    versions = [p for p in path.iterdir() if p.name.isdecimal() and p.is_dir()]
    return max(versions, key=lambda version: int(version.name), default=path)


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
