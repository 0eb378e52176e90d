"""The data of an experiment: source logs to pretrain on and tasks to transfer to."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from keras_peterrec.errors import refuse
from keras_peterrec.runs.task_data import load_answers, open_source
from keras_peterrec.settings.transfer import TaskSettings
from keras_peterrec.types import Json


@dataclass(frozen=True)
class TaskSource:
    """What `transfer` needs to know about a task's data: a target log, or a column of labels."""

    name: str
    source: str  # name of its host's source log, in its `Dataset`
    log: str  # with the histories; see `load_log`
    target: str | None = None
    labels: str | None = None
    column: str | None = None
    kind: str | None = None  # if the column does not tell
    cut_history: bool = True  # `False` if the clocks of log and target differ

    @property
    def folder(self) -> str:
        """The task and how its histories are read, as the name of a folder."""
        whole = self.target is not None and not self.cut_history
        return f"{self.name}-whole-histories" if whole else self.name

    @property
    def arguments(self) -> Json:
        """The arguments of `transfer` and `linear` that name the data."""
        given = {"target": self.target, "labels": self.labels, "column": self.column}
        given = {name: value for name, value in {**given, "kind": self.kind}.items() if value}
        cut = {} if self.target is None else {"cut_history": self.cut_history}
        return {"log": self.log, **given, **cut}

    @property
    def settings(self) -> TaskSettings:
        return TaskSettings(**{name: v for name, v in self.arguments.items() if name != "log"})


@dataclass(frozen=True)
class Dataset:
    """Source logs, each with a host, and the tasks on these hosts."""

    name: str
    sources: dict  # from the name of a source to its log; see `load_log`
    tasks: tuple[TaskSource, ...]
    max_length: int  # events of a history that hosts read
    note: str  # what a reader of the numbers has to know about the data
    # How all runs read files: `columns`, `events` and `drop_bad_rows`.
    reading: dict = field(default_factory=dict)

    def only(self, names: Sequence[str] | None) -> "Dataset":
        """This dataset with some of its tasks (`None` for all) and the sources they need.

        Raises:
            InputError: there is no such task.
        """
        if names is None:
            return self
        known = [task.name for task in self.tasks]
        for name in names:
            if name not in known:
                refuse("tasks", f"among {', '.join(known)}", name)
        tasks = tuple(task for task in self.tasks if task.name in names)
        needed = {task.source for task in tasks}
        sources = {name: log for name, log in self.sources.items() if name in needed}
        return replace(self, sources=sources, tasks=tasks)

    def with_whole_histories(self) -> "Dataset":
        """This dataset with histories that do not end before the target event."""
        tasks = tuple(replace(task, cut_history=False) for task in self.tasks)
        return replace(self, tasks=tasks, note=f"{self.note}; whole histories")

    def fingerprints(self) -> Json:
        """Fingerprints of all files, which are read for that: of each source, and of each task's
        log and answers.

        Raises:
            InputError: a file cannot be read.
        """
        of_log = functools.cache(lambda log: open_source(log, **self.reading).fingerprint())
        return {
            "sources": {name: of_log(log) for name, log in self.sources.items()},
            "tasks": {
                task.name: [
                    of_log(task.log),
                    load_answers(task.settings.replace(**self.reading)).fingerprint(),
                ]
                for task in self.tasks
            },
        }
