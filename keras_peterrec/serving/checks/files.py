"""Are all the files of a version directory there?"""

from keras_peterrec.files.json_file import read_json
from keras_peterrec.serving.asset_hashes import changed_assets
from keras_peterrec.serving.exported_model import BUNDLES, DESCRIPTION, MIXED_BUNDLES


def check_files(folder):
    """What a server or a later export would miss, a list of str."""
    wanted = ["saved_model.pb", "variables/variables.index"]
    missing = [name for name in wanted if not (folder.path / name).is_file()]
    if not list((folder.path / "variables").glob("variables.data-*")):
        missing.append("variables/variables.data-*")
    return [f"{name} is missing" for name in missing]


def check_assets(folder):
    """Text files that the graph reads, a list of str."""
    names = [asset.filename for asset in folder.meta_graph.asset_file_def]
    found = {name: folder.path / "assets" / name for name in sorted(set(names))}
    problems = {f"assets/{name}": "is missing" for name, p in found.items() if not p.is_file()}
    empty = [n for n, path in found.items() if path.is_file() and not path.stat().st_size]
    problems.update({f"assets/{name}": "is empty" for name in empty})
    if (folder.path / DESCRIPTION).is_file():
        changed = changed_assets(folder.path, read_json(folder.path / DESCRIPTION, "check"))
        problems = {**dict.fromkeys(changed, "is not what was exported"), **problems}
    return [f"{path} {problem}" for path, problem in problems.items()]


def check_bundles(folder):
    """Tasks that a later version could not take over, a list of str."""
    if not (folder.path / DESCRIPTION).is_file():
        return [f"{DESCRIPTION} is missing"]
    description = read_json(folder.path / DESCRIPTION, "check")
    tasks = description.get("tasks", {})
    wanted = {name: BUNDLES / name for name in tasks}
    wanted |= {name: MIXED_BUNDLES / name for name in description.get("mixed", ())}
    lost = {
        name: path
        for name, path in wanted.items()
        if not (folder.path / path / "task.json").is_file()
    }
    unknown = [name for name in tasks if name not in folder.signature_defs]
    return [
        *(f"{name}: its task bundle {path} is missing" for name, path in lost.items()),
        *(f"{name}: is a task without signature" for name in unknown),
    ]
