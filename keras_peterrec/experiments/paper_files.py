"""The files that the authors of PeterRec published, as a dataset of five tasks."""

import re
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.experiments.dataset import Dataset, TaskSource
from keras_peterrec.progress import line

MAX_LENGTH = 50  # as the published lines, most of which are padded to it
_PRETRAIN = r"pretrain|_pre\."
# Name of a task, a pattern for the name of its file (upper or lower case), and whether it has
# labels. The files' names differ: `coldrec2_fine.csv`, `original_desen_age.csv`, ...
_TASKS = (
    ("ColdRec-1", r"coldrec[-_]?1", False),
    ("ColdRec-2", r"coldrec[-_]?2", False),
    ("GenEst", r"gender|genest", True),
    ("AgeEst", r"(?<![a-z])age(?![a-z])|ageest", True),
    ("LifeEst", r"(?<![a-z])life", True),
)
# The file of ColdRec-2 may also be called `original_desen_finetune_click_nouserID.csv`, which says
# nothing else about the task.
_FINETUNE = r"finetune"


def paper_dataset(folder: Path) -> Dataset:
    """The tasks whose files lie in a folder, each with its host's log.

    ColdRec-1 may have a pretraining file of its own, which its name tells; all other tasks share
    one. Tasks without a file are left out, with a line on stderr.

    Raises:
        InputError: the folder has no pretraining file, or no file of any task.
    """
    files = sorted(folder.glob("*.csv"), key=lambda file: file.name.lower())
    pretraining = [file for file in files if _has(file, _PRETRAIN)]
    by_name = _files_of_tasks([file for file in files if file not in pretraining])
    if not pretraining:
        raise InputError(
            "`path` should be a folder with a .csv file that has `pretrain` in its name. "
            f"Received: {str(folder)!r}, without one."
        )
    own = [file for file in pretraining if _has(file, _TASKS[0][1])]
    shared = [file for file in pretraining if file not in own] or own
    sources, tasks, missing = {}, [], []
    for name, _, classifies in _TASKS:
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
            "`path` should be a folder with the file of at least one of "
            f"{', '.join(name for name, _, _ in _TASKS)}. Received: {str(folder)!r}, without any."
        )
    if missing:
        line(f"left out, no file in {folder}: {', '.join(missing)}")
    return Dataset("peterrec", sources, tuple(tasks), MAX_LENGTH, "the paper's own files")


def _files_of_tasks(files):
    """The files of each task by the task's name; the first one is read."""
    by_task = {}
    for name, pattern, _ in _TASKS:
        by_task[name] = [file for file in files if _has(file, pattern)]
        files = [file for file in files if file not in by_task[name]]
    by_task["ColdRec-2"] += [file for file in files if _has(file, _FINETUNE)]
    return by_task


def _has(file, pattern):
    return re.search(pattern, file.name.lower()) is not None


def _task(name, source, file, classifies):
    answers = {"labels": f"paper-labels:{file}", "column": "label"}
    if not classifies:
        answers = {"target": f"paper-target:{file}"}
    return TaskSource(name, source, f"paper-source:{file}", **answers)
