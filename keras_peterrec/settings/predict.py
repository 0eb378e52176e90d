"""Settings of `predict`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.settings.base import DATA, about, not_negative, setting
from keras_peterrec.settings.reading import RunnerSettings
from keras_peterrec.types import AnyPath, Source


@dataclass(frozen=True)
class PredictSettings(RunnerSettings):
    """Settings of `predict`: what to ask an exported model, for histories or for a whole log."""

    command: ClassVar[str] = "predict"
    help_text: ClassVar[str] = "ask an exported model"
    out_is_run: ClassVar[bool] = False

    model: AnyPath = field(
        metadata=about(
            "a version, such as export/peterrec/1, or the folder with versions, for the newest"
        )
    )
    history: Sequence[str] = setting(
        (), 'item ids separated by spaces, "1193 661 914"; one string for each user'
    )
    task: Sequence[str] = setting(
        ("serving_default",),
        "names of tasks, or embed (default: serving_default, the next item)",
    )
    log: Source | None = setting(
        None, "in place of --history: a log, to answer for each of its users", **DATA
    )
    out: AnyPath | None = setting(
        None,
        "with --log: file for the answers, by its ending .parquet, .csv or .jsonl; with --runner "
        "several, answers-00000-of-00004.parquet and so on. A spreadsheet takes values in .csv "
        "that begin with = + - @ for formulas: import them as text",
        metavar="FILE",
        recorded=False,
    )
    users: Source | None = setting(
        None, "with --log: table with user_id and the columns of users that the task reads", **DATA
    )
    allow: str = setting("", "recommend only these items, ids separated by spaces", metavar="IDS")
    deny: str = setting("", "recommend none of these items", metavar="IDS")
    k: int = setting(
        0,
        "items of a recommendation, at most as many as exported (default: all)",
        check=not_negative,
    )
    keep_seen: bool | None = setting(
        None,
        "recommend items of the history as well (default: as the task was trained)",
        no_help="recommend no item of the history",
    )
    trust: bool = setting(
        False, "load a model that may do more than compute, such as read and write files"
    )

    @property
    def wishes(self) -> dict:
        """What is said of what may be recommended; empty if nothing is."""
        said = {name: getattr(self, name) for name in ("allow", "deny", "k", "keep_seen")}
        return said if self.keep_seen is not None or any(said.values()) else {}

    def check(self):
        super().check()
        if self.runner is not None and self.log is None:
            raise InputError(
                f"`log` should be given with --runner. Received: `runner` = {self.runner!r} alone."
            )
        if bool(self.history) == (self.log is not None):
            raise InputError(
                "`predict` should be given --history, or --log and --out. "
                f"Received: {'both' if self.history else 'neither'}."
            )
        if (self.log is None) != (self.out is None):
            given, other = ("log", "out") if self.out is None else ("out", "log")
            raise InputError(f"`{other}` should be given with --{given}. Received: none.")
        if self.users is not None and self.log is None:
            refuse("users", "given with --log", self.users)
        if self.log is not None and len(self.task) != 1:
            raise InputError(
                "`task` should be one task with --log, whose answers fill a file. "
                f"Received: {', '.join(self.task)}."
            )
