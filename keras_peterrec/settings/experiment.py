"""Settings of `experiment` and `quickstart`."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.settings.base import DATA, Settings, about, same_as, seed_number, setting
from keras_peterrec.settings.plans import PLANS
from keras_peterrec.settings.reading import ReadingSettings
from keras_peterrec.settings.training import NetworkSettings, TrainingSettings
from keras_peterrec.types import AnyPath, Source

_NAME = re.compile(r"\w[\w.-]*")  # of a task, after which a folder is called
DATASETS = ("movielens-100k", "movielens-1m", "amazon", "simulated", "peterrec")


@dataclass(frozen=True)
class ExperimentSettings(ReadingSettings):
    """Settings of `experiment`: a plan, a dataset and how many seeds."""

    command: ClassVar[str] = "experiment"
    help_text: ClassVar[str] = (
        "an experiment of the paper, or beside it: tables and plots over several seeds"
    )

    name: str = field(
        metadata=about(
            "; ".join(f"{plan.name}: {plan.title}" for plan in PLANS.values()),
            choices=lambda: tuple(PLANS),
            positional=True,
            metavar="NAME",
        )
    )
    dataset: str | None = setting(
        None,
        "movielens-100k (default), movielens-1m, simulated, or with --path: amazon, peterrec (the "
        "paper's own files); left out with --log",
        choices=DATASETS,
        metavar="DATASET",
    )
    path: AnyPath | None = setting(None, "folder with the files of the dataset")
    log: Source | None = setting(
        None, "your own source log, files or a folder of `prepare`, in place of a dataset", **DATA
    )
    target: Sequence[str] | None = setting(
        None, "with --log: target logs, a task each, called after its file", metavar="[TASK=]FILE"
    )
    labels: Source | None = setting(
        None, "with --log: table with user_id and columns of labels", **DATA
    )
    column: Sequence[str] | None = setting(
        None,
        "columns of --labels, a task each; its kind of task, where the values do not tell",
        metavar="COLUMN[=KIND]",
    )
    tasks: Sequence[str] | None = setting(
        None, "some of the dataset's tasks (default: all)", metavar="TASK", recorded=False
    )
    rows: Sequence[str] | None = setting(
        None, "some of the experiment's rows (default: all)", metavar="ROW", recorded=False
    )
    cut_history: bool = setting(
        True,
        "whether histories end before their target event",
        no_help="read whole histories, also where the logs share a clock",
    )
    linear: bool = same_as(TrainingSettings, "linear")
    seeds: int = setting(
        3,
        "how many, each with its own split, host and training",
        metavar="N",
        check=check_count,
        recorded=False,
    )
    epochs: int | None = setting(None, "at most, of every stage", check=check_count)
    hidden_dim: int | None = setting(
        NetworkSettings.hidden_dim,
        "channels of the hosts (default: as suits the log)",
        check=check_count,
    )
    blocks: int | None = setting(
        NetworkSettings.blocks,
        "blocks of the hosts (default: as many as suit their network)",
        check=check_count,
    )
    max_length: int | None = setting(
        None, "events of a history (default: as suits the dataset)", check=check_count
    )
    shared: AnyPath | None = setting(
        None,
        "folder of hosts and runs, which experiments on one dataset may share (default: OUT)",
        metavar="DIR",
        recorded=False,
    )
    out: AnyPath | None = setting(None, "folder (default: runs/experiments/NAME)", recorded=False)

    def check(self):
        if self.log is None:
            why = "without `log`, since a dataset has its own logs and tasks"
            names = ("target", "labels", "column", "columns", "events", "drop_bad_rows")
            self.leave_out(why, *names)
            return
        self.leave_out("with `log`", "dataset", "path")
        self.give_together("labels", "column")
        if not self.target and not self.column:
            raise InputError(
                "`target`, or `labels` and `column`, should name a task with `log`. Received: none."
            )
        names = [name for name, _ in (*self.own_targets(), *self.own_columns())]
        for name in names:
            if not _NAME.fullmatch(name) or names.count(name) > 1:
                raise InputError(
                    "`target` and `column` should name tasks differently, with letters, digits, "
                    f"'_', '-' and '.' (--target NAME=FILE). Received: {name!r}."
                )

    def own_targets(self) -> list[tuple[str, str]]:
        """The name and the file of each task with a target log of one's own."""
        targets = []
        for text in self.target or ():
            name, sign, path = text.partition("=")
            named = sign and not os.path.exists(text)
            targets.append((name, path) if named else (Path(text).name.split(".")[0], text))
        return targets

    def own_columns(self) -> list[tuple[str, str | None]]:
        """The column and the kind, `None` where its values tell, of each task with labels."""
        parts = (text.partition("=") for text in self.column or ())
        return [(name, kind or None) for name, _, kind in parts]


@dataclass(frozen=True)
class QuickstartSettings(Settings):
    """Settings of `quickstart`: the whole job on one dataset."""

    command: ClassVar[str] = "quickstart"
    help_text: ClassVar[str] = (
        "the whole job on MovieLens-100K: pretrain, six tasks, compare, export, ask"
    )

    out: AnyPath = setting("runs/quickstart", "folder for everything")
    data: str = setting(
        "movielens-100k",
        "what to run on",
        choices=("movielens-100k", "movielens-1m", "simulated"),
    )
    epochs: int = setting(200, "at most, of every stage", check=check_count)
    seed: int = setting(0, "of everything", check=seed_number)
