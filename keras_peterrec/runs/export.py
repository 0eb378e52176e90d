"""From host and task folders to one SavedModel; its next version; what is wrong with one."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.json_file import read_format, read_json, refuse_misfits
from keras_peterrec.log.item_features import read_items
from keras_peterrec.log.item_table import HIDDEN
from keras_peterrec.log.titles import read_item_list, read_titles
from keras_peterrec.progress import line, stage
from keras_peterrec.report.gather import gather
from keras_peterrec.serving.export import DEFAULT_K
from keras_peterrec.serving.export import export as write_export
from keras_peterrec.serving.export_files import (
    ADDED,
    BUNDLES,
    DESCRIPTION,
    FORMAT_VERSION,
    ITEMS,
    MIXED_BUNDLES,
    REPORTS,
    newest_version,
)
from keras_peterrec.serving.signature_names import NEXT_ITEM
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.export import ExportSettings
from keras_peterrec.transfer.grown_host import add_items, append_saved, tell_own_network
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import SHARED_HOST
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_bundle import TaskBundle
from keras_peterrec.transfer.task_collection import TaskCollection
from keras_peterrec.types import Json


@takes(ExportSettings)
def export(settings: ExportSettings) -> Json:
    """Writes an export of a host and its tasks, writes the next version of one, or checks one.

    With `out`, tasks are named after their folders. From Python, `host` may also be a Host, `task`
    a dict from a name to a Task or a folder, `mixed` MixedTasks, and `items` a dict from item to
    title. With `base`, the earlier tasks are read from their bundles inside the export and the
    host from where it was exported from; nothing is trained. To replace a task, remove it and add
    the new one in one call. With `check_folder` nothing is written.

    Returns:
        dict; see `keras_peterrec.serving.export.export`. Of a check, also of one after writing
        (`check_folder=True`): `path`, `checks` (names of those that ran) and `problems` (list of
        str).

    Raises:
        InputError: a folder cannot be used, two tasks have one name, the tasks in `mixed` are of
            several patch methods, nothing would change, or the host is not that of `base`.
            Nothing is written then.
    """
    run, what = {
        "out": (_new, "exporting"),
        "base": (_extend, "exporting"),
        "check_folder": (_check, "checking"),
    }[settings.way]
    with stage(f"{what} {settings.out or settings.base or settings.check_folder}"):
        result = run(settings)
    if settings.check_folder is not True:
        return result
    with stage(f"checking {result['out']}"):
        return result | _checked(Path(result["out"]), settings)


def _new(settings):
    paths = _task_names(settings.task)
    given = isinstance(settings.host, Host)
    growth = _Growth.of(settings.host if given else Host.load(settings.host), settings)
    host = growth.host
    tasks = {name: growth.load(path) for name, path in paths.items()}
    mixed = None
    if settings.mixed is not None:
        mixed = _mixed_tasks(settings.mixed, host, paths.values())
    k = DEFAULT_K if settings.k is None else settings.k
    reports = _reports({NEXT_ITEM: settings.host, **paths})
    options = {"reports": reports, **_shown(settings)}
    options["added"] = growth.added
    incremental = settings.incremental
    path = None if given else settings.host
    return write_export(host, tasks, settings.out, k, path, incremental, mixed, **options)


def _extend(settings):
    version, out = _versions(Path(settings.base))
    saved = read_format(version / DESCRIPTION, FORMAT_VERSION, "base")
    single, together = _bundles(version, saved)
    added, removed = _task_names(settings.task), settings.remove_task
    incremental = saved["incremental"] or settings.incremental
    given = settings.k, settings.items, settings.hidden_items, settings.add_items
    more = incremental != saved["incremental"]
    changed = more or any(value is not None for value in given)
    _check_changes([*single, *together], added, removed, changed)
    origin = settings.host or saved["host_path"]
    if isinstance(origin, Host):
        raise InputError("`host` should be a folder with `base`. Received: a Host.")
    growth = _Growth.of(_host(origin, version, saved), settings, saved["added_items"])
    host = growth.host
    tasks = {
        name: growth.load(path, "base") for name, path in single.items() if name not in removed
    }
    tasks.update((name, growth.load(path)) for name, path in added.items())
    kept = [path for name, path in together.items() if name not in removed]
    mixed = MixedTasks.load(kept, host, "base") if kept else None
    k = saved["k"] if settings.k is None else settings.k
    reports = _earlier_reports(version, removed) | _reports(added)
    options = {"reports": reports, **_shown(settings, version)}
    options["added"] = growth.added
    return write_export(host, tasks, out, k, origin, incremental, mixed, **options)


@dataclass(frozen=True)
class _Growth:
    """A host that knows more items than that of its folder, and how its tasks follow.

    Args:
        host: Host, with all items.
        added: int. How many of its last items its folder lacks.
    """

    host: Host
    added: int
    features: Any

    @classmethod
    def of(cls, host, settings, added=0):
        """The host with the new items of `add_items`; `added` were added before."""
        if settings.add_items is None:
            return cls(host, added, None)
        try:
            features = read_items(settings.add_items)
            grown, known_items = add_items(host, features), len(host.vocabulary.items)
        except InputError as error:
            raise InputError(f"`add_items` cannot be used. {error}") from error
        new = len(grown.vocabulary.items) - known_items
        if not new:
            raise InputError(
                "`add_items` should have items that the host lacks. "
                f"Received: {len(features.item_ids):,} items, all known."
            )
        line(
            f"{new:,} items added after the {known_items:,} of the host, with vectors by their "
            "columns"
        )
        return cls(grown, added + new, features)

    def load(self, path, argument="task"):
        """The Task of a folder; one with a network of its own learns of the new items as well."""
        if isinstance(path, Task):
            if self.features is not None:
                raise InputError(
                    "`task` should be folders with `add_items`. Received: a Task, which was loaded "
                    "before its host had these items."
                )
            return path
        task = Task.load(path, self.host, argument)
        known_items = self.host.items_of(TaskBundle.read(path, argument).saved["host"])
        if (
            task.method in SHARED_HOST
            or not self.added
            or known_items == len(self.host.vocabulary.items)
        ):
            return task
        if self.features is None:
            raise InputError(
                f"`task` should be of the method {' or '.join(SHARED_HOST)}, or `add_items` should "
                "have the columns of the items that were added to `base`: a task of the method "
                f"{task.method} has item vectors of its own. Received: {str(path)!r}, alone."
            )
        tell_own_network(task, self.host, known_items, self.features)
        return task


def _shown(settings, version=None):
    """Titles and hidden items, as they are asked for or as an earlier version has them."""
    shown = {"items": settings.items, "hidden": settings.hidden_items}
    if version is not None:
        for name, path in (("items", version / ITEMS), ("hidden", version / "assets" / HIDDEN)):
            if shown[name] is None and path.is_file():
                shown[name] = path
    titles = shown["items"]
    if titles is not None and not isinstance(titles, dict):
        titles = read_titles(titles, "items")
    hidden = None if shown["hidden"] is None else read_item_list(shown["hidden"], "hidden_items")
    return {"titles": titles, "hidden": hidden}


def _reports(paths):
    """What is known of the runs in folders, without examples; of a bundle alone nothing is."""
    reports = {}
    for name, path in paths.items():
        in_memory = isinstance(path, (Host, Task))
        if not in_memory and (Path(path) / "metrics.json").is_file():
            # Histories of single users do not belong into a model that is passed on.
            reports[name] = {**gather(path, name), "examples": []}
    return reports


def _earlier_reports(version, removed):
    """Those of the tasks that a version keeps; an older version has none."""
    path = version / REPORTS
    reports = read_json(path, "base") if path.is_file() else {}
    return {name: report for name, report in reports.items() if name not in removed}


def _check(settings):
    path = Path(settings.check_folder)
    if not path.is_dir():
        raise InputError(
            "`check` should be a version directory, such as export/peterrec/1. "
            f"Received: {str(path)!r}, which is no folder."
        )
    return _checked(newest_version(path), settings)


def _checked(path, settings):
    from keras_peterrec.serving.verify.verify_export import checks, verify_export

    how = settings.thorough, settings.trust
    return {"path": str(path), "checks": list(checks(*how)), "problems": verify_export(path, *how)}


def _mixed_tasks(folder, host, others):
    """The tasks of the method `patch` in a folder but for `others`."""
    if isinstance(folder, MixedTasks):
        return folder
    others = {path.resolve() for path in others if isinstance(path, Path)}
    described = TaskCollection(folder, host).describe() if Path(folder).is_dir() else []
    paths = [Path(folder) / found["task"] for found in described if found["method"] == "patch"]
    paths = [path for path in paths if path.resolve() not in others]
    if not paths:
        raise InputError(
            "`mixed` should be a folder with task bundles of `host`, of the method patch. "
            f"Received: {str(folder)!r}, which has none that `task` does not name."
        )
    return MixedTasks.load(paths, host, "mixed")


def _task_names(paths):
    """Names of task folders, `{name: path}`; two of one name are refused.

    Args:
        paths: path or several; or a dict that gives the names, of paths or Tasks.
    """
    if isinstance(paths, dict):
        return {n: path if isinstance(path, Task) else Path(path) for n, path in paths.items()}
    named = {}
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        name = os.path.basename(os.path.abspath(path))
        if name in named:
            raise InputError(
                f"`task` should be folders of different names. Received: two {name!r}."
            )
        named[name] = Path(path)
    return named


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
    together = {name: version / MIXED_BUNDLES / name for name in saved["mixed"]}
    missing = [name for name, path in (single | together).items() if not path.is_dir()]
    if missing:
        raise InputError(
            f"`base` should hold its task bundles in {BUNDLES} and {MIXED_BUNDLES}. "
            f"Received: {str(version)!r}, without {', '.join(missing)}."
        )
    return single, together


def _check_changes(names, added, remove_task, otherwise):
    for name in remove_task:
        if name not in names:
            refuse("remove_task", f"one of {', '.join(names) or 'no tasks'}", name)
    for name in added:
        if name in names and name not in remove_task:
            raise InputError(
                f"`task` should be new to `base`, or be replaced with --remove-task {name}. "
                f"Received: {name!r}, which `base` has."
            )
    if not added and not remove_task and not otherwise:
        raise InputError(
            "`base` should be given with a `task` to add, a `remove_task`, another `k`, or "
            "`incremental` where it lacks that, or `items`, `hidden_items` or "
            "`add_items`. Received: none of them."
        )


def _host(path, version, saved):
    """The host of a version: that of a folder, and the items that were added for the version."""
    if path is None:
        raise InputError(
            "`host` should be given, since `base` does not say where its host is. Received: none."
        )
    host = Host.load(path)
    if host.fingerprint() != saved["host_at_path"]:
        raise InputError(
            f"`host` should be the host of `base`, {saved['host_at_path']}. "
            f"Received: {str(path)!r}, {host.fingerprint()}."
        )
    if not saved["added_items"]:
        return host
    with refuse_misfits(version / ADDED, "base"):
        host = append_saved(host, version / ADDED)
    if host.fingerprint() != saved["host"]:
        raise InputError(
            f"`base` should have the added items that were exported, in {ADDED}. "
            f"Received: {str(version)!r}, where they were changed."
        )
    return host
