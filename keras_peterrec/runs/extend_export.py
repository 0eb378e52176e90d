"""A published export plus new tasks, or without old ones, as its next version."""

from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import read_format
from keras_peterrec.runs.export import task_names
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import (
    BUNDLES,
    DESCRIPTION,
    FORMAT_VERSION,
    MIXED_BUNDLES,
)
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.task import Task


def extend_export(base, task=(), remove_task=(), host=None, k=None):
    """Writes the next version of a published export.

    The earlier tasks are read from their bundles inside the export, the host from
    where it was exported from; nothing is trained. To replace a task, remove it and
    add the new one in one call.

    Args:
        base: path of the export: the newest version of `export/peterrec`, or one
            version, such as `export/peterrec/3`.
        task: list of paths of `transfer` runs to add. Defaults to none.
        remove_task: list of str, names of tasks to leave out, mixed ones too. Defaults to none.
        host: path of the host, where it was moved. Defaults to `None`.
        k: int. Items in a recommendation. Defaults to those of `base`.

    Returns:
        dict; see `keras_peterrec.serving.export.export`.

    Raises:
        InputError: `base` is no export, nothing would change, a name is taken or unknown, or
            the host is not that of `base`. Nothing is written then.
    """
    version, out = _versions(Path(base))
    saved = read_format(version / DESCRIPTION, FORMAT_VERSION, "base")
    single, together = _bundles(version, saved)
    added = task_names(task)
    _check_changes([*single, *together], added, remove_task, k)
    loaded = _host(host or saved.get("host_path"), saved["host"])
    tasks = {
        name: Task.load(path, loaded, "base")
        for name, path in single.items()
        if name not in remove_task
    }
    tasks.update((name, Task.load(path, loaded)) for name, path in added.items())
    kept = [path for name, path in together.items() if name not in remove_task]
    mixed = MixedTasks.load(kept, loaded, "base") if kept else None
    origin = host or saved["host_path"]
    k = saved["k"] if k is None else k
    return export(loaded, tasks, out, k, origin, saved.get("incremental", False), mixed)


def _versions(base):
    """The version to read, and the next one to write."""
    chosen = base if (base / "saved_model.pb").is_file() else None
    folder = base.resolve().parent if chosen else base
    versions = {}
    if folder.is_dir():
        versions = {int(p.name): p for p in folder.iterdir() if p.name.isdecimal()}
    whole = [n for n, path in versions.items() if (path / "saved_model.pb").is_file()]
    if chosen is None and not whole:
        raise InputError(
            "`base` should be a folder with versions, such as export/peterrec, or one version. "
            f"Received: {str(base)!r}, which has none."
        )
    return chosen or versions[max(whole)], folder / str(max(versions, default=0) + 1)


def _bundles(version, saved):
    """The bundles of the tasks of their own, and of the mixed ones, each `{name: path}`."""
    single = {name: version / BUNDLES / name for name in saved["tasks"]}
    together = {name: version / MIXED_BUNDLES / name for name in saved.get("mixed", ())}
    # Not to be had of a first version that mixed tasks before their bundles were kept.
    missing = [name for name, path in (single | together).items() if not path.is_dir()]
    if missing:
        raise InputError(
            f"`base` should hold its task bundles in {BUNDLES} and {MIXED_BUNDLES}. "
            f"Received: {str(version)!r}, without {', '.join(missing)}."
        )
    return single, together


def _check_changes(names, added, remove_task, k):
    for name in remove_task:
        if name not in names:
            raise InputError(
                f"`remove_task` should be one of {', '.join(names) or 'no tasks'}. "
                f"Received: {name!r}."
            )
    for name in added:
        if name in names and name not in remove_task:
            raise InputError(
                f"`task` should be new to `base`, or be replaced with --remove-task {name}. "
                f"Received: {name!r}, which `base` has."
            )
    if not added and not remove_task and k is None:
        raise InputError(
            "`base` should be given with a `task` to add, a `remove_task` or another `k`. "
            "Received: none of them."
        )


def _host(path, fingerprint):
    if path is None:
        raise InputError(
            "`host` should be given, since `base` does not say where its host is. Received: none."
        )
    host = Host.load(path)
    if host.fingerprint() != fingerprint:
        raise InputError(
            f"`host` should be the host of `base`, {fingerprint}. "
            f"Received: {str(path)!r}, {host.fingerprint()}."
        )
    return host
