"""A user's own log and tasks as the data of an experiment."""

from keras_peterrec.experiments.dataset import Dataset, TaskSource
from keras_peterrec.log.table_files import source_name
from keras_peterrec.settings.pretrain import PretrainSettings


def own_dataset(settings):
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
    reading = {"columns": settings.columns, "events": settings.events}
    if settings.drop_bad_rows:
        reading["drop_bad_rows"] = True
    return Dataset(source_name(log), {"source": log}, tuple(tasks), length, "own data", reading)


def _place(place):
    """Several files as a tuple, which can be hashed; one that stands in a list alone."""
    if not isinstance(place, (list, tuple)):
        return place
    return place[0] if len(place) == 1 else tuple(place)
