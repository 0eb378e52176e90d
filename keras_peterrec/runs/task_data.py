"""A task's data out of what a run was given: a target log, or labels."""

from keras_peterrec.data.labels import Labels
from keras_peterrec.data.log import Log
from keras_peterrec.data.sources import load_labels, load_log
from keras_peterrec.errors import InputError
from keras_peterrec.runs.classification import ClassificationData
from keras_peterrec.runs.recommendation import RecommendationData


def check_answers(target, labels, column=None, cut_history=True, loss=None):
    """Refuses a task of neither a `target` nor `labels`, or both, and what it does not read."""
    if (target is None) == (labels is None):
        raise InputError(
            "`target` or `labels` should be given, and not both. "
            f"Received: `target` = {target!r}, `labels` = {labels!r}."
        )

    refuse_unread("labels", labels, column=(column, None))
    refuse_unread("target", target, cut_history=(cut_history, True), loss=(loss, None))


def refuse_unread(needed, value, **arguments):
    """Refuses arguments that are read with `needed` alone, where that is `None`.

    Args:
        needed: str. Name of an argument.
        value: what was given for it.
        **arguments: `(value, default)` of each argument that would not be read.
    """
    for name, (given, default) in arguments.items():
        if value is None and given != default:
            raise InputError(
                f"`{name}` should be left out without `{needed}`. Received: `{name}` = {given!r}."
            )


def load_answers(target, labels, column):
    """The target Log or the Labels that the arguments of a task name."""
    if target is not None:
        return target if isinstance(target, Log) else load_log(target)
    if isinstance(labels, Labels):
        return labels
    if not column:
        raise InputError("`column` should name a column of `labels`. Received: none.")
    return load_labels(labels, column)


def make_data(source, max_length, answers, settings):
    """The task's data.

    Args:
        source: Sequences of the source log.
        max_length: int. Last events of a history that are read.
        answers: Log or Labels.
        settings: dict of `seed`, `train_fraction` and, for a Log, `cut_history`.

    Returns:
        RecommendationData or ClassificationData.
    """
    common = (source, answers, max_length, settings["seed"], settings["train_fraction"])
    if isinstance(answers, Log):
        return RecommendationData(*common, settings["cut_history"])
    return ClassificationData(*common)
