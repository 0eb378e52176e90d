"""Settings of `transfer`, and of the baselines that are run on the same tasks."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from keras_peterrec.errors import InputError, check_count, refuse
from keras_peterrec.log.column_names import as_fields
from keras_peterrec.log.moments import is_moment
from keras_peterrec.patches.registry import patch_names
from keras_peterrec.settings.base import (
    DATA,
    Settings,
    about,
    fraction,
    keep_seen_setting,
    positive_number,
    rate,
    same_as,
    seed_number,
    setting,
    split_setting,
)
from keras_peterrec.settings.reading import (
    ReadingSettings,
    columns_setting,
    event_names,
    weight_setting,
)
from keras_peterrec.settings.training import NetworkSettings, TrainingSettings
from keras_peterrec.task_kinds import kind_names
from keras_peterrec.types import AnyPath, EventNames, Named, Source

# The methods and the names that the paper gives them; `transfer/strategies.py` builds them.
METHODS = {
    "patch": "PeterRec",
    "all": "FineAll",
    "head": "FineCLS",
    "last1": "FineLast1",
    "last2": "FineLast2",
    "scratch": "FineZero",
    "random_host": "PeterZero",
}
PATCHED = ("patch", "random_host")  # the methods with patches
# The paper's patch inside the blocks, and what an item means to the task. The paper's alone is
# `bottleneck`.
DEFAULT_PATCH = "bottleneck+item_lora:8"


@dataclass(frozen=True, kw_only=True)
class SplitSettings(Settings):
    """Which of a task's users train, what is read of their histories, and what is answered.

    Example:

    >>> SplitSettings(seed=1).replace(train_fraction=0.5).train_fraction
    0.5
    """

    train_fraction: float = setting(
        1.0, "share of the training and validation users that is used", check=fraction
    )
    cut_history: bool = setting(
        True,
        "whether a history ends before its target event",
        no_help="read whole histories: for logs whose clocks differ",
    )
    split: str = split_setting("users", "users: 70/10/20 by a hash of their ids")
    keep_seen: bool | None = keep_seen_setting()
    seed: int = setting(0, "of the split and of the training", check=seed_number)


@dataclass(frozen=True, kw_only=True)
class TaskSettings(SplitSettings, ReadingSettings):
    """Where a task's answers are and what kind they are, and how its users are split."""

    target: Source | None = setting(None, "target log: recommend its items", **DATA)
    labels: Source | None = setting(
        None, "table with user_id and columns of labels: learn one of them", **DATA
    )
    column: str | None = setting(None, "column of --labels")
    kind: str | None = setting(
        None,
        "kind of task: recommendation (with --target); classification, multilabel or regression "
        "(with --labels; default: what the column's values tell)",
        choices=kind_names,
        metavar="KIND",
    )
    target_events: EventNames | None = setting(
        None,
        "of --target, keep the rows whose event_type is one of these",
        metavar="KIND,...",
        check=event_names,
    )
    weight_column: str | None = weight_setting("each event of --target")

    keep_missing_words: bool = setting(
        False,
        "take words for a missing value in --column, such as N/A, none or unknown, for labels",
    )
    users: Source | None = setting(
        None, "table with user_id and the columns that `user_fields` names", **DATA
    )
    user_fields: EventNames | None = columns_setting(
        "columns of `users`, such as plan,country, that the task reads beside the history: "
        "categories, or numbers by quantiles",
        "columns of `users`, such as plan,country",
    )
    class_weight: str | None = setting(
        None,
        "classification: balanced lets every class count the same in training, however rare. More "
        "of the rare ones are found, but probabilities are then those of equally frequent classes: "
        "log-loss gets worse, and they are not calibrated (default: every user counts the same)",
        choices=("balanced",),
    )

    def check(self):
        if (self.target is None) == (self.labels is None):
            raise InputError(
                "Either `target` or `labels` should be given. "
                f"Received: `target` = {self.target!r}, `labels` = {self.labels!r}."
            )
        self.give_together("users", "user_fields")
        if self.column is not None and self.column in as_fields(self.user_fields):
            refuse("user_fields", "columns that do not tell the labels", self.user_fields)
        if self.labels is None:
            self.leave_out("without `labels`", "column", "keep_missing_words")
        if isinstance(self.labels, (str, os.PathLike)) and not self.column:
            raise InputError("`column` should name a column of `labels`. Received: none.")
        if self.target is None:
            self.leave_out("without `target`", "target_events", "weight_column")
            self.leave_out("without `target`, since labels are not in a history", "keep_seen")
            self.leave_out("without `target`, since labels have no time", "cut_history")
        if is_moment(self.split):
            why = "with a `split` by time, since whole histories hold what comes after it"
            self.leave_out(why, "cut_history")


@dataclass(frozen=True)
class TransferSettings(TrainingSettings, TaskSettings):
    """Settings of `transfer`: a host and a task's data in, a task bundle out."""

    command: ClassVar[str] = "transfer"
    help_text: ClassVar[str] = "train one task on a host"

    host: AnyPath = field(metadata=about("folder of a pretrain run, or hf://user/name"))
    log: Source = field(metadata=about("source log with the histories", **DATA))
    out: AnyPath = field(metadata=about("new folder for the task bundle", recorded=False))
    start: AnyPath | None = setting(
        None,
        "an earlier run of this task, such as on the host before a refresh: training starts with "
        "its patch and its head",
        flag="from",
        metavar="BUNDLE",
    )
    fields: EventNames | None = columns_setting(
        "columns of the log, such as channel,price, that this task reads of events beside what the "
        "host reads"
    )
    times: bool = setting(
        True,
        "whether the linear part may read the times between events, for labels",
        no_help="read no times, as where the host reads none",
    )
    method: str = setting("patch", "what is trained", choices=tuple(METHODS))
    patch: str | Named | None = setting(
        None,
        f"how to patch, for the methods patch and random_host: {', '.join(patch_names())}, such as "
        f"bottleneck:8,serial or lora:4+norm (default: {DEFAULT_PATCH}; the paper's: bottleneck)",
        metavar="NAME[:OPTIONS][+...]",
    )
    loss: str | None = setting(
        None,
        "recommendation: softmax, bce, sampled or bpr (default: softmax, or bce where a history "
        "has many targets); regression: squared (default) or huber",
        metavar="NAME",
    )
    batch_size: int | None = setting(
        None,
        "of rows, or of the cuts of histories where these have several (default: by the number "
        "of training rows)",
        check=check_count,
    )
    learning_rate: float | None = setting(
        None, "of Adam, at the start (default: by the method)", check=positive_number
    )
    dropout: float = setting(0.5, "on the user's state", check=rate)
    hide_rate: float = setting(
        0.3,
        "share of the events of a history that training hides, others in each epoch; but not from "
        "the head, which is trained first",
        check=rate,
    )
    baselines: bool = setting(
        True,
        "whether the regression alone is measured as well",
        no_help="measure the simplest answers alone",
    )

    def check(self):
        super().check()
        if self.final:
            self.leave_out("with `final`, which trains on everything", "train_fraction")
        if self.patch is not None and self.method not in PATCHED:
            raise InputError(
                f"`patch` should be left out unless `method` is {' or '.join(PATCHED)}. "
                f"Received: `patch` = {self.patch!r} with `method` = {self.method!r}."
            )


@dataclass(frozen=True)
class LinearSettings(TaskSettings):
    """Settings of `linear`: the linear part of a task, without a network."""

    command: ClassVar[str] = "linear"

    log: Source = field(metadata=about("source log with the histories", **DATA))
    out: AnyPath = field(metadata=about("new folder", recorded=False))
    fields: EventNames | None = columns_setting(
        "columns of the log that are read of each event, as by `pretrain`"
    )


@dataclass(frozen=True)
class MultiTaskSettings(ReadingSettings, NetworkSettings):
    """Settings of `multi_task`: one network for the next items and several tasks."""

    command: ClassVar[str] = "multi_task"

    log: Source = field(metadata=about("source log", **DATA))
    tasks: Mapping[str, Mapping[str, Any]] = field(
        metadata=about(
            "dict from a task's name to a dict of `log`, and `target` or `labels` and `column`"
        )
    )
    out: AnyPath = field(metadata=about("new folder", recorded=False))
    epochs: int = setting(TrainingSettings.epochs, "at most", check=check_count)
    learning_rate: float = setting(1e-3, "of Adam", check=positive_number)
    head_dropout: float = setting(
        TransferSettings.dropout, "on the user's state before a head", check=rate
    )
    train_fraction: float = same_as(SplitSettings, "train_fraction")
    seed: int = setting(SplitSettings.seed, "of the splits and of the training", check=seed_number)

    def check(self):
        super().check()
        if not isinstance(self.tasks, dict) or not self.tasks:
            raise InputError(
                f"`tasks` should hold at least one task: a dict of dicts. Received: {self.tasks!r}."
            )
