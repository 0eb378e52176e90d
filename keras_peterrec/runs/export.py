"""From a host and task bundles on disk to one SavedModel."""

import os
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.serving.export import export
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_collection import TaskCollection


def export_runs(host, task, out, k=10, incremental=False, mixed=None):
    """Exports a host and its tasks, each named after its folder.

    Args:
        host: path of a `pretrain` run.
        task: list of paths of `transfer` runs.
        out: path of the new version, such as `export/peterrec/1`.
        k: int. Items in a recommendation.
        incremental: bool. Whether tasks also answer one event at a time. Defaults to
            `False`.
        mixed: path of a folder, whose task bundles of this host and of the method
            `patch`, without those of `task`, answer through one signature. Defaults to
            `None`.

    Returns:
        dict; see `keras_peterrec.serving.export.export`.

    Raises:
        InputError: a folder cannot be used, two tasks have one name, or the tasks in
            `mixed` are of several patch methods.
    """
    paths = task_names(task)
    loaded = Host.load(host)
    tasks = {name: Task.load(path, loaded) for name, path in paths.items()}
    together = None if mixed is None else _mixed_tasks(mixed, loaded, paths.values())
    return export(loaded, tasks, out, k, host, incremental, together)


def _mixed_tasks(folder, host, others):
    """The tasks of the method `patch` in a folder but for `others`."""
    others = {path.resolve() for path in others}
    described = TaskCollection(folder, host).describe() if Path(folder).is_dir() else []
    paths = [Path(folder) / found["task"] for found in described if found["method"] == "patch"]
    paths = [path for path in paths if path.resolve() not in others]
    if not paths:
        raise InputError(
            "`mixed` should be a folder with task bundles of `host`, of the method patch. "
            f"Received: {str(folder)!r}, which has none that `task` does not name."
        )
    return MixedTasks.load(paths, host, "mixed")


def task_names(paths):
    """Names of task folders, `{name: path}`; two of one name are refused."""
    named = {}
    for path in paths:
        name = os.path.basename(os.path.abspath(path))
        if name in named:
            raise InputError(
                f"`task` should be folders of different names. Received: two {name!r}."
            )
        named[name] = Path(path)
    return named
