"""Where a version directory has what, and whether its text files are those that were exported.

A graph reads the lines that it finds: with a vocabulary cut short, a model loads and gives wrong
answers. So a version notes the hashes of its text files.
"""

import hashlib
from pathlib import Path

from keras_peterrec.files.json_file import read_json
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


def read_description(folder: Path, argument: str) -> Json | None:
    """What `export` noted of a version; `None` for another SavedModel."""
    path = folder / DESCRIPTION
    return read_json(path, argument) if path.is_file() else None


def asset_hashes(folder: Path) -> dict[str, str]:
    """The hashes that `export` notes, `{name: "sha256:..."}` of the files in `assets`."""
    paths = sorted((folder / "assets").iterdir())
    return {path.name: _hash(path) for path in paths if path.name != HIDDEN}


def changed_assets(folder: Path, description: Json) -> list[str]:
    """Which files in `assets` are missing or changed since the export, paths below `folder`."""
    paths = {f"assets/{name}": noted for name, noted in description.get("assets", {}).items()}
    return [
        path
        for path, noted in paths.items()
        if not (folder / path).is_file() or _hash(folder / path) != noted
    ]


def _hash(path):
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
