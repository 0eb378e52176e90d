"""From a host and task bundles on disk to one SavedModel."""

import os
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.serving.export import export
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task


def export_runs(host, task, out, k=10):
    """Exports a host and its tasks, each named after its folder.

    Args:
        host: path of a `pretrain` run.
        task: list of paths of `transfer` runs.
        out: path of the new version, such as `export/peterrec/1`.
        k: int. Items in a recommendation.

    Returns:
        dict; see `keras_peterrec.serving.export.export`.

    Raises:
        InputError: a folder cannot be used, or two tasks have one name.
    """
    paths = task_names(task)
    loaded = Host.load(host)
    tasks = {name: Task.load(path, loaded) for name, path in paths.items()}
    return export(loaded, tasks, out, k=k, host_path=host)


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
