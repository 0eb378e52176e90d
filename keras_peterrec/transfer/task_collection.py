"""The task bundles in one folder: listed, loaded, renamed, deleted."""

import os
from collections.abc import Collection
from pathlib import Path

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.json_file import read_json, refuse_misfits
from keras_peterrec.files.leftovers import folder_beside
from keras_peterrec.patches.short_names import patch_from_config
from keras_peterrec.progress import line
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_bundle import TaskBundle
from keras_peterrec.types import AnyPath


class TaskCollection:
    """All the tasks in a folder that stand on one host.

    A task is called as the folder of its bundle. Bundles of other hosts are left alone, and
    so are those that cannot be read, of which a line on stderr tells.

    Args:
        folder: path. Its sub-folders may be task bundles.
        host: Host, or the fingerprints that bundles of one have, a set of str.

    Example:

    >>> tasks = TaskCollection("runs", host)
    >>> tasks.names()
    ['films', 'gender']
    >>> films = tasks.load("films")
    """

    def __init__(self, folder: AnyPath, host: Host | Collection[str]) -> None:
        self.folder = Path(folder)
        self.host = host
        self._unreadable = {}
        if not self.folder.is_dir():
            refuse("folder", "a folder with task bundles", str(folder))

    def names(self) -> list[str]:
        """The tasks' names, sorted."""
        return [bundle.name for bundle in self._bundles()]

    def load(self, name: str) -> Task:
        """The Task `name`, on the host of this collection; see `Task.load`."""
        if not isinstance(self.host, Host):
            refuse("host", "a Host to load a task, not fingerprints", self.host)
        return Task.load(self._path(name), self.host, "name")

    def rename(self, name: str, new_name: str) -> None:
        """Gives a task another name.

        Raises:
            InputError: there is no such task, something has the new name, or it begins
                with a dot.
        """
        path, target = self._path(name), self.folder / new_name
        is_name = new_name and Path(new_name).name == new_name and not new_name.startswith(".")
        if not is_name or target.exists():
            refuse(
                "new_name",
                f"a name that is free in {str(self.folder)!r}, without a dot at its start",
                new_name,
            )
        os.rename(path, target)

    def delete(self, name: str) -> None:
        """Deletes a task's folder, with all that its run wrote."""
        path = self._path(name)
        # Gone in one step; what is interrupted leaves no half bundle of that name.
        with folder_beside(path) as aside:
            os.rename(path, aside / path.name)

    def describe(self) -> list[dict]:
        """What is known of each task.

        Returns:
            list of dict of `task`, `kind`, `method`, `patch` (its short name),
            `parameters` (of patches, task token and head), `bytes` of the bundle, `test`
            (the metrics that its kind shows, where its run wrote some) and `data`
            (fingerprints).
        """
        return [found for found in map(self._describe, self._bundles()) if found]

    def _bundles(self):
        is_host = isinstance(self.host, Host)
        fingerprints = self.host.fingerprints() if is_host else set(self.host)
        bundles = []
        for path in sorted(self.folder.iterdir()):
            if (path / "task.json").is_file() and not path.name.startswith("."):
                bundle = self._readable(path, _read)
                if bundle is not None and bundle.saved["host"] in fingerprints:
                    bundles.append(bundle)
        return bundles

    def _describe(self, bundle):
        return self._readable(bundle.folder, lambda path: _describe(bundle))

    def _readable(self, path, read):
        """What `read(path)` returns, or `None` and a line where that is refused."""
        try:
            return read(path)
        except InputError as error:
            if path.name not in self._unreadable:
                line(f"left out: {path}: {error}")
            self._unreadable[path.name] = error
            return None

    def _path(self, name):
        names = self.names()
        if name not in names and name in self._unreadable:
            raise self._unreadable[name]
        if name not in names:
            refuse("name", f"one of {', '.join(names) or 'no task'}", name)
        return self.folder / name


def _read(path):
    bundle = TaskBundle.read(path, "folder")
    with refuse_misfits(path, "folder"):
        bundle.saved["host"]
    return bundle


def _describe(bundle):
    result = {}
    if (bundle.folder / "metrics.json").is_file():
        result = read_json(bundle.folder / "metrics.json", "folder")
    with refuse_misfits(bundle.folder, "folder"):
        patch = patch_from_config(bundle.saved["patch"])
        kind, test = get_kind(bundle.saved["kind"]), result.get("metrics", {}).get("test", {})
        return {
            "task": bundle.name,
            "kind": bundle.saved["kind"],
            "method": bundle.method,
            "patch": None if patch is None else patch.short_name,
            "parameters": result.get("parameters", {}).get("trainable"),
            "bytes": sum(file.stat().st_size for file in bundle.folder.glob("*.npz")),
            "test": {name: test[name] for name in kind.shown if name in test},
            "data": result.get("data", {}).get("fingerprint"),
        }
