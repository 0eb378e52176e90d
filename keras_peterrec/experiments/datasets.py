"""The data of an experiment: logs to pretrain on and tasks, by name or of a user's own files."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.log.table_files import source_name
from keras_peterrec.progress import line
from keras_peterrec.runs.task_data import load_answers, open_source
from keras_peterrec.settings.experiment import DATASETS, ExperimentSettings
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.settings.transfer import TaskSettings
from keras_peterrec.types import AnyPath, Json

DEFAULT = "movielens-100k"
WITH_PATH = ("amazon", "peterrec")  # read from a folder that the user names

# A task's name, and where its answers are: in a domain or in a column of the users.
MOVIELENS_TASKS = {
    "action": {"target": "action"},
    "scifi": {"target": "scifi"},
    "children": {"target": "children"},
    "gender": {"column": "gender"},
    "age": {"column": "age"},
    "occupation": {"column": "occupation"},
}
SIMULATED_TASKS = {
    "shop": {"target": "target"},
    "gender": {"column": "gender"},
    "age": {"column": "age"},
    "spend": {"column": "spend", "kind": "regression"},
    "topics": {"column": "topics", "kind": "multilabel"},
}
MAX_LENGTH = 32  # events of a history; half of the users of MovieLens-100K have fewer
LONG = 200  # half of the users of MovieLens-1M have more than 90 events
AMAZON_PAIRS = (("sports", "beauty"), ("toys", "beauty"), ("sports", "toys"))


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


def open_dataset(name: str, path: AnyPath | None = None) -> Dataset:
    """The dataset with a name, one of `DATASETS`. Its files are looked for, but not read yet.

    `path` is the folder of the files of `"amazon"` and `"peterrec"`.

    Raises:
        InputError: there is no such dataset, `path` is missing or not wanted, or the folder
            lacks the files.

    Example:

    >>> [task.name for task in open_dataset("simulated").tasks]
    ['shop', 'gender', 'age', 'spend', 'topics']
    """
    if name not in DATASETS:
        refuse("dataset", f"one of {', '.join(DATASETS)}", name)
    if name not in WITH_PATH:
        if path is not None:
            raise InputError(
                f"`path` should be given for {' and '.join(WITH_PATH)} alone. "
                f"Received: `path` = {str(path)!r} with `dataset` = {name!r}."
            )
        return _by_domain(name)
    if path is None or not Path(path).is_dir():
        refuse("path", f"the folder with the files of {name}", None if path is None else str(path))
    return _paper(Path(path)) if name == "peterrec" else _amazon(Path(path))


def _by_domain(name):
    simulated = name == "simulated"
    tasks, columns = [], SIMULATED_TASKS if simulated else MOVIELENS_TASKS
    if name == "movielens-100k":
        columns = {**columns, "age_years": {"column": "age_years", "kind": "regression"}}
    for task, where in columns.items():
        if "target" in where:
            answers = {"target": f"{name}/{where['target']}"}
        else:
            answers = {"labels": f"{name}/users", **where}
        tasks.append(TaskSource(task, "source", f"{name}/source", **answers))
    note = "made up, no real data" if simulated else "one site split by genre, not two apps"
    max_length = LONG if name == "movielens-1m" else MAX_LENGTH
    return Dataset(name, {"source": f"{name}/source"}, tuple(tasks), max_length, note)


def _amazon(folder):
    needed = dict.fromkeys(domain for pair in AMAZON_PAIRS for domain in pair)
    files = {domain: folder / f"{domain}.csv.gz" for domain in needed}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise InputError(
            f"`path` should be a folder with {', '.join(f.name for f in files.values())}. "
            f"Received: {str(folder)!r}, without {', '.join(missing)}."
        )
    tasks = tuple(
        # The timestamps in the files are positions, so the logs share no clock.
        TaskSource(f"{a}-{b}", a, str(files[a]), target=str(files[b]), cut_history=False)
        for a, b in AMAZON_PAIRS
    )
    sources = {source: str(files[source]) for source, _ in AMAZON_PAIRS}
    note = "shared users, no shared clock: histories are whole"
    return Dataset("amazon", sources, tasks, MAX_LENGTH, note)


PAPER_LENGTH = 50  # as the published lines, most of which are padded to it
_PRETRAIN_FILE = r"pretrain|_pre\."
# Name of a task, a pattern for the name of its file (upper or lower case), and whether it has
# labels. The files' names differ: `coldrec2_fine.csv`, `original_desen_age.csv`, ...
_PAPER_TASKS = (
    ("ColdRec-1", r"coldrec[-_]?1", False),
    ("ColdRec-2", r"coldrec[-_]?2", False),
    ("GenEst", r"gender|genest", True),
    ("AgeEst", r"(?<![a-z])age(?![a-z])|ageest", True),
    ("LifeEst", r"(?<![a-z])life", True),
)
# The file of ColdRec-2 may also be called `original_desen_finetune_click_nouserID.csv`, which says
# nothing else about the task.
_FINETUNE_FILE = r"finetune"


def _paper(folder: Path) -> Dataset:
    """The tasks whose files lie in a folder, each with its host's log.

    ColdRec-1 may have a pretraining file of its own, which its name tells; all other tasks share
    one. Tasks without a file are left out, with a line on stderr.

    Raises:
        InputError: the folder has no pretraining file, or no file of any task.
    """
    files = sorted(folder.glob("*.csv"), key=lambda file: file.name.lower())
    pretraining = [file for file in files if _has(file, _PRETRAIN_FILE)]
    by_name = _files_of_tasks([file for file in files if file not in pretraining])
    if not pretraining:
        raise InputError(
            "`path` should be a folder with a .csv file that has `pretrain` in its name. "
            f"Received: {str(folder)!r}, without one."
        )
    own = [file for file in pretraining if _has(file, _PAPER_TASKS[0][1])]
    shared = [file for file in pretraining if file not in own] or own
    sources, tasks, missing = {}, [], []
    for name, _, classifies in _PAPER_TASKS:
        if not by_name[name]:
            missing.append(name)
            continue
        first, *beside = by_name[name]
        if beside:
            unread = ", ".join(file.name for file in beside)
            line(f"{name}: {first.name} is read, and not {unread}")
        source, log = "source", shared[0]
        if name == "ColdRec-1" and own:
            source, log = "coldrec-1", own[0]
        sources[source] = f"paper:{log}"
        tasks.append(_task(name, source, first, classifies))
    if not tasks:
        raise InputError(
            f"`path` should be a folder with the file of at least one of {', '.join(by_name)}. "
            f"Received: {str(folder)!r}, without any."
        )
    if missing:
        line(f"left out, no file in {folder}: {', '.join(missing)}")
    return Dataset("peterrec", sources, tuple(tasks), PAPER_LENGTH, "the paper's own files")


def _files_of_tasks(files):
    """The files of each task by the task's name; the first one is read."""
    by_task = {}
    for name, pattern, _ in _PAPER_TASKS:
        by_task[name] = [file for file in files if _has(file, pattern)]
        files = [file for file in files if file not in by_task[name]]
    by_task["ColdRec-2"] += [file for file in files if _has(file, _FINETUNE_FILE)]
    return by_task


def _has(file, pattern):
    return re.search(pattern, file.name.lower()) is not None


def _task(name, source, file, classifies):
    answers = {"labels": f"paper-labels:{file}", "column": "label"}
    if not classifies:
        answers = {"target": f"paper-target:{file}"}
    return TaskSource(name, source, f"paper-source:{file}", **answers)


def own_dataset(settings: ExperimentSettings) -> Dataset:
    """The Dataset of a user's own `log` and of the tasks on its users."""
    log, labels = map(_place, (settings.log, settings.labels))
    tasks = [TaskSource(name, "source", log, target=path) for name, path in settings.own_targets()]
    tasks += [
        TaskSource(name, "source", log, labels=labels, column=name, kind=kind)
        for name, kind in settings.own_columns()
    ]
    length = PretrainSettings.max_length
    sources = {"source": log}
    return Dataset(source_name(log), sources, tuple(tasks), length, "own data", settings.reading)


def _place(place):
    """Several files as a tuple, which can be hashed; one that stands in a list alone."""
    if not isinstance(place, (list, tuple)):
        return place
    return place[0] if len(place) == 1 else tuple(place)
