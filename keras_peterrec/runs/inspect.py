"""Describes a folder that this package wrote."""

from pathlib import Path

from keras_peterrec.errors import refuse
from keras_peterrec.files.json_file import read_json, refuse_misfits
from keras_peterrec.log.prepared.format import is_prepared, read_manifest
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.finished_runs import InspectSettings
from keras_peterrec.types import Json


@takes(InspectSettings)
def inspect(settings: InspectSettings) -> Json:
    """Describes a host, a task bundle, an export or a prepared log, without loading weights.

    What each patch method would cost needs the host's weights, which are loaded then.

    Returns:
        dict of `kind`, `files` (bytes by name) and what the folder's JSON files hold. For a host
        also `tasks`, the task bundles in folders beside it (see `TaskCollection.describe`), and
        `patches` if asked for (see `patch_table`).

    Raises:
        InputError: the folder does not hold any of these.
    """
    folder = Path(settings.path)
    with refuse_misfits(folder, "path"):
        return _description(folder, settings.patches)


def _description(folder, patches):
    description = {"path": str(folder)}
    exported = folder / "assets.extra" / "peterrec.json"
    if (folder / "host.json").is_file():
        description.update(kind="host", host=read_json(folder / "host.json", "path"))
        if patches:
            description["patches"] = _patch_rows(folder)
    elif patches:
        refuse("path", "the folder of a host with `patches`", str(folder))
    elif (folder / "task.json").is_file():
        description.update(kind="task bundle", task=read_json(folder / "task.json", "path"))
    elif exported.is_file():
        description.update(kind="export", export=read_json(exported, "path"))
    elif is_prepared(folder):
        description.update(kind="prepared log", prepared=read_manifest(folder, "path"))
        del description["prepared"]["files"]  # as `files` below, and there may be thousands
    elif (folder / "run.json").is_file():
        description.update(kind="unfinished run", run=read_json(folder / "run.json", "path"))
    else:
        refuse("path", "the folder of a host, a task, an export or a prepared log", str(folder))
    if (folder / "metrics.json").is_file():
        result = read_json(folder / "metrics.json", "path")
        for key in ("parameters", "metrics", "baseline", "seconds", "data"):
            if key in result:
                description[key] = result[key]
    if description["kind"] == "host":
        description["tasks"] = _tasks(folder, description["host"])
    description["files"] = {
        str(file.relative_to(folder)): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "logs" not in file.parts and not file.name.startswith(".")
    }
    return description


def _tasks(folder, host):
    # Imported here: only hosts have tasks, and Keras takes a second to load.
    from keras_peterrec.transfer.task_collection import TaskCollection

    fingerprints = {host.get("fingerprint"), *host.get("compatible_with", ())}
    return TaskCollection(folder.resolve().parent, fingerprints).describe()


def _patch_rows(folder):
    from keras_peterrec.transfer.host import Host
    from keras_peterrec.transfer.parameters import patch_table

    return patch_table(Host.load(folder, "path").backbone)
