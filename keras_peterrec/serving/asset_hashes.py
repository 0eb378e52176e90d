"""Are a version's text files those that were exported?

A graph reads the lines that it finds: with a vocabulary cut short it loads and answers, wrongly.
"""

import hashlib
from pathlib import Path


def asset_hashes(folder):
    """What `export` notes of the files in `assets`, `{name: "sha256:..."}`.

    Args:
        folder: path of a version directory.
    """
    return {path.name: _hash(path) for path in sorted((Path(folder) / "assets").iterdir())}


def changed_assets(folder, description):
    """Files in `assets` that are missing or not those that were exported.

    Args:
        folder: path of a version directory.
        description: dict that `export` wrote. In older exports it says nothing of assets.

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
