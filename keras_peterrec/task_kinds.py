"""The kinds of task by name. Importing it is cheap: a kind's file is imported when it is used."""

from collections import Counter
from typing import Any, TypeVar

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.lazy_import import imported
from keras_peterrec.progress import line

# A subclass of TaskKind, which is in a room above.
KindClass = TypeVar("KindClass", bound=type)

# name -> "module:class", or a class that `register_task_kind` was given.
_KINDS: dict[str, Any] = {
    "recommendation": "tasks.recommendation:Recommendation",
    "classification": "tasks.classification:Classification",
    "multilabel": "tasks.multilabel:Multilabel",
    "regression": "tasks.regression:Regression",
}


def kind_names() -> list[str]:
    """The names of all kinds of task, list of str."""
    return list(_KINDS)


def get_kind(name: str) -> Any:
    """The class of a kind of task, a subclass of TaskKind.

    Raises:
        InputError: no kind has this name.
    """
    if name not in _KINDS:
        refuse("kind", f"one of {', '.join(_KINDS)}", name)
    return imported(_KINDS[name])


def register_task_kind(kind: KindClass) -> KindClass:
    """Adds a kind of task of one's own, also as a decorator of its class.

    Its tasks are then trained, saved, loaded and exported like any other, with its own head,
    loss and metrics.

    Args:
        kind: subclass of TaskKind whose `name` no other kind has.

    Raises:
        InputError: the name is taken.

    Example:

    >>> register_task_kind(Classification)
    Traceback (most recent call last):
    keras_peterrec.errors.InputError: `kind` should have a name that is free. ...
    """
    named: Any = kind
    name = named.name
    if _KINDS.get(name, kind) is not kind:
        raise InputError(
            f"`kind` should have a name that is free. Received: {name!r}, which is taken."
        )
    _KINDS[name] = kind
    return kind


def choose_kind(name: str | None, labels: Any = None) -> Any:
    """The class of the kind that a command's arguments ask for.

    Args:
        name: str or `None`, as `--kind`.
        labels: Labels, or `None` where the task reads a target log.

    Raises:
        InputError: the kind reads something else, or cannot be told from the column.
    """
    if name is None and labels is None:
        return get_kind("recommendation")
    if name is None:
        name, reason = _guess(labels)
        line(
            f"column {labels.column!r}: {reason}, so the kind of the task is {name} "
            "(--kind says otherwise)"
        )
    kind = get_kind(name)
    reads = "target" if labels is None else "labels"
    if kind.reads != reads:
        raise InputError(
            f"`kind` should be one that reads `{reads}`. "
            f"Received: `kind` = {name!r}, which reads `{kind.reads}`."
        )
    return kind


MOST_CLASSES = 100  # of a column whose kind is guessed
SHOWN = 8  # classes that are named with their counts
MOST_NUMBERS = 20  # different whole numbers that are still taken for classes


def _guess(labels):
    """The kind that a column's values tell for sure, and why."""
    counts = Counter(labels.values)
    different = set(counts)
    if any("|" in value for value in different):
        parts = Counter()
        for value, count in counts.items():
            parts.update(dict.fromkeys({part.strip() for part in value.split("|")} - {""}, count))
        return "multilabel", f"values hold several labels, separated by | ({_shown(parts)})"
    numbers = _numbers(different)
    if numbers is None and len(different) <= MOST_CLASSES:
        return "classification", f"{len(different)} different words ({_shown(counts)})"
    if numbers is not None and len(different) <= MOST_NUMBERS:
        if all(number.is_integer() for number in numbers):
            count = f"{len(different)} different whole numbers"
            return "classification", f"{count} ({_shown(counts)})"
    what = "different words" if numbers is None else "different numbers"
    likely = "classification or multilabel" if numbers is None else "regression or classification"
    raise InputError(
        f"`kind` should be given for the column {labels.column!r}, as --kind {likely}, since its "
        f"values do not tell. Received: {len(different)} {what}, such as {min(different)!r}."
    )


def _shown(counts):
    """Classes with their numbers of rows, the most frequent first: `M 4,331, F 1,709`."""
    often = [f"{name} {count:,}" for name, count in counts.most_common(SHOWN)]
    more = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    return f"{', '.join(often)}{more}"


def _numbers(values):
    try:
        return [float(value) for value in values]
    except ValueError:
        return None
