"""The data of an experiment: source logs to pretrain on, tasks to transfer to."""

import functools
from dataclasses import dataclass, replace

from keras_peterrec.data.sources import load_log
from keras_peterrec.errors import InputError
from keras_peterrec.runs.task_data import load_answers


@dataclass(frozen=True)
class Dataset:
    """Source logs, one host each, and the tasks that these serve.

    Args:
        name: str.
        sources: dict from the name of a source to its log; see `load_log`.
        tasks: tuple of TaskSource.
        max_length: int. Events of a history that hosts read.
        note: str. What a reader of the numbers has to know of the data.
    """

    name: str
    sources: dict
    tasks: tuple
    max_length: int
    note: str

    def only(self, names):
        """This dataset with some of its tasks, and the sources that these need.

        Args:
            names: sequence of str, or `None` for all tasks.

        Raises:
            InputError: a name is not that of a task.
        """
        if names is None:
            return self
        known = [task.name for task in self.tasks]
        for name in names:
            if name not in known:
                raise InputError(
                    f"`tasks` should be among {', '.join(known)}. Received: `tasks` = {name!r}."
                )
        tasks = tuple(task for task in self.tasks if task.name in names)
        needed = {task.source for task in tasks}
        sources = {name: log for name, log in self.sources.items() if name in needed}
        return replace(self, sources=sources, tasks=tasks)

    def with_whole_histories(self):
        """This dataset with histories that are not cut before the target event."""
        tasks = tuple(replace(task, cut_history=False) for task in self.tasks)
        return replace(self, tasks=tasks, note=f"{self.note}; whole histories")

    def fingerprints(self):
        """What the files hold: all of them are read.

        Returns:
            dict of `sources`, the fingerprint of each log, and `tasks`, of each the
            fingerprints of histories and answers.

        Raises:
            InputError: something cannot be read.
        """
        of_log = functools.cache(lambda log: load_log(log).fingerprint())
        return {
            "sources": {name: of_log(log) for name, log in self.sources.items()},
            "tasks": {
                task.name: [
                    of_log(task.log),
                    load_answers(task.target, task.labels, task.column).fingerprint(),
                ]
                for task in self.tasks
            },
        }
