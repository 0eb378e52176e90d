"""The files that the authors of PeterRec published, as a dataset of five tasks."""

import sys

from keras_peterrec.errors import InputError
from keras_peterrec.experiments.dataset import Dataset
from keras_peterrec.experiments.task_source import TaskSource

MAX_LENGTH = 50  # as the published lines, most of which are padded to it
_PRETRAIN = ("pretrain", "_pre.")
# A task, what the name of its file contains, in any case, and whether it classifies. The
# names differ: `coldrec2_fine.csv`, `original_desen_finetune_click_nouserID.csv`, ...
_TASKS = (
    ("ColdRec-1", ("coldrec1", "coldrec-1"), False),
    ("ColdRec-2", ("coldrec2", "coldrec-2", "finetune"), False),
    ("GenEst", ("gender", "genest"), True),
    ("AgeEst", ("_age", "ageest"), True),
    ("LifeEst", ("lifestatus", "lifeest", "_life"), True),
)


def paper_dataset(folder):
    """The tasks whose files lie in a folder, each with its host's log.

    ColdRec-1 has a pretraining file of its own, where its name tells so; every other
    task shares one. Tasks without a file are left out, with a line on stderr.

    Args:
        folder: Path.

    Returns:
        Dataset.

    Raises:
        InputError: the folder has no pretraining file or no task's file.
    """
    files = sorted(folder.glob("*.csv"), key=lambda file: file.name.lower())
    pretraining = [file for file in files if _has(file, _PRETRAIN)]
    others = [file for file in files if file not in pretraining]
    if not pretraining:
        raise InputError(
            "`path` should be a folder with a .csv file that has `pretrain` in its name. "
            f"Received: {str(folder)!r}, without one."
        )
    own = [file for file in pretraining if _has(file, _TASKS[0][1])]
    shared = [file for file in pretraining if file not in own] or own
    sources, tasks, missing = {}, [], []
    for name, parts, classifies in _TASKS:
        found = [file for file in others if _has(file, parts)]
        if not found:
            missing.append(name)
            continue
        if len(found) > 1:
            beside = ", ".join(file.name for file in found[1:])
            print(f"{name}: {found[0].name} is read, and not {beside}", file=sys.stderr)
        others = [file for file in others if file not in found]
        source, log = "source", shared[0]
        if name == "ColdRec-1" and own:
            source, log = "coldrec-1", own[0]
        sources[source] = f"paper:{log}"
        tasks.append(_task(name, source, found[0], classifies))
    if not tasks:
        raise InputError(
            "`path` should be a folder with the file of at least one of "
            f"{', '.join(name for name, _, _ in _TASKS)}. Received: {str(folder)!r}, without any."
        )
    if missing:
        print(f"left out, no file in {folder}: {', '.join(missing)}", file=sys.stderr)
    return Dataset("peterrec", sources, tuple(tasks), MAX_LENGTH, "the paper's own files")


def _has(file, parts):
    return any(part in file.name.lower() for part in parts)


def _task(name, source, file, classifies):
    answers = {"labels": f"paper-labels:{file}", "column": "label"}
    if not classifies:
        answers = {"target": f"paper-target:{file}"}
    return TaskSource(name, source, f"paper-source:{file}", **answers)
