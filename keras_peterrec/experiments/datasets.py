"""The datasets of the experiments: by name, or of a user's own log and tasks."""

from pathlib import Path

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.experiments.dataset import Dataset, TaskSource
from keras_peterrec.experiments.paper_files import paper_dataset
from keras_peterrec.log.table_files import source_name
from keras_peterrec.settings.experiment import DATASETS, ExperimentSettings
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.types import AnyPath

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


def open_dataset(name: str, path: AnyPath | None = None) -> Dataset:
    """The dataset with a name. Its files are looked for, but not read yet.

    Args:
        name: str. One of `DATASETS`.
        path: path of a folder, for `"amazon"` and `"peterrec"`.

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
    return paper_dataset(Path(path)) if name == "peterrec" else _amazon(Path(path))


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


def own_dataset(settings: ExperimentSettings) -> Dataset:
    """The Dataset of one source log and of the tasks on its users.

    Args:
        settings: ExperimentSettings with a `log`.
    """
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
