"""Settings of `export`, which writes an export, extends one or checks one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.settings.base import Settings, setting
from keras_peterrec.types import AnyPath, Source

_ITEMS = ("items", "hidden_items", "add_items")
# What each way of using the command takes: needed, allowed.
_WAYS = {
    "check_folder": ((), ("thorough", "trust")),
    "base": ((), ("task", "remove_task", "host", "k", "incremental", *_ITEMS)),
    "out": (("host",), ("task", "k", "incremental", "mixed", *_ITEMS)),
}
_FLAGS = {"check_folder": "check"}


@dataclass(frozen=True)
class ExportSettings(Settings):
    """Settings of `export`. One of `out`, `base` and `check_folder` says what it does."""

    command: ClassVar[str] = "export"
    help_text: ClassVar[str] = "write one SavedModel with every task in it"

    host: AnyPath | None = setting(None, "folder of a pretrain run, or hf://user/name")
    task: AnyPath | Sequence[AnyPath] = setting(
        (), "folders of transfer runs", metavar="DIR", place=True
    )
    out: AnyPath | None = setting(None, "new version, such as export/peterrec/1")
    k: int | None = setting(
        None, "items in a recommendation (default: 10, or those of --base)", check=check_count
    )
    incremental: bool = setting(False, "let every task take single events as well, as NAME_step")
    mixed: AnyPath | None = setting(
        None,
        "put the other patch tasks in this folder behind one signature, mixed",
        metavar="FOLDER",
    )
    items: AnyPath | None = setting(
        None,
        "CSV with item_id and title: recommendations then have titles as well",
        metavar="FILE",
    )
    hidden_items: AnyPath | None = setting(
        None,
        "text file of items that may not be shown, one a line; the export's copy, "
        "assets/hidden_items.txt, may be changed later",
        metavar="FILE",
    )
    add_items: Source | None = setting(
        None,
        "table with item_id and columns of words, of items that the host knows and new ones: the "
        "new ones get vectors from their columns, without training",
        metavar="FILE",
    )
    base: AnyPath | None = setting(
        None,
        "a published export, such as export/peterrec: write its next version, with each --task "
        "besides and without each --remove-task",
        metavar="DIR",
    )
    remove_task: Sequence[str] = setting((), "tasks of --base to leave out", metavar="NAME")
    check_folder: AnyPath | bool | None = setting(
        None,
        "write nothing; say what is wrong with a version for TensorFlow Serving. Without DIR, with "
        "--out or --base: say it of what was written",
        metavar="DIR",
        flag="check",
        alone=True,
    )
    thorough: bool = setting(
        False,
        "with --check: also ask a process with TensorFlow alone, and every signature in "
        "TensorFlow's C loader as a server optimizes its graph; several times as long",
    )
    trust: bool = setting(
        False,
        "with --check: run a model that may do more than compute, such as read and write files",
    )

    @property
    def way(self) -> str:
        """`"out"`, `"base"` or `"check_folder"`."""
        return self._ways()[0]

    def _ways(self):
        return [name for name in _WAYS if getattr(self, name) not in (None, True)]

    def check(self):
        given = self._ways()
        if len(given) != 1:
            received = " and ".join(f"--{_FLAGS.get(name, name)}" for name in given)
            raise InputError(
                "`export` should be given --host and --out for a new export, --base for the next "
                f"version of one, or --check. Received: {received or 'none of them'}."
            )
        needed, allowed = _WAYS[self.way]
        if self.check_folder is True:
            allowed += ("check_folder", "thorough", "trust")
        flag = _FLAGS.get(self.way, self.way)
        for name in needed:
            if getattr(self, name) is None:
                raise InputError(f"`{name}` should be given with --{flag}. Received: none.")
        for name, value in vars(self).items():
            if value != getattr(type(self), name) and name not in (self.way, *needed, *allowed):
                raise InputError(
                    f"`{name}` cannot be used with --{flag}. Received: --{name.replace('_', '-')}."
                )
