"""What a request to an export may tell beside the items, for people; out of its `peterrec.json`."""

from typing import Any

from keras_peterrec.log.field_kinds import TimeSincePrevious
from keras_peterrec.log.id_text import written

_FEW = 3  # categories that are named
_HOUR = 3_600


def what_may_be_told(description: dict) -> list[str]:
    """Sentences that say what is read of a history beside its items; none where nothing is.

    Args:
        description: dict, as `assets.extra/peterrec.json` has it.

    Example:

    >>> fields = [{"kind": "time", "name": "time"}]
    >>> plan = [{"kind": "categories", "name": "plan", "values": ["gold", "free"]}]
    >>> tasks = {"stays": {"user_fields": plan, "own_fields": [{"kind": "time_since"}]}}
    >>> for sentence in what_may_be_told({"fields": fields, "tasks": tasks}):
    ...     print(sentence)
    The next item reads when events were and when is asked, in seconds since 1970.
    stays reads the times between events.
    stays reads of the user: plan (gold, free).
    """
    fields, sentences = _of_events(description), []
    if len(fields) < len(description.get("fields", [])):
        sentences = [
            "The next item reads when events were and when is asked, in seconds since 1970."
        ]
    if fields:
        sentences.append(f"All answers read of an event: {_named(fields)}.")
    for task, of in sorted(description.get("tasks", {}).items()):
        if any(field["kind"] == TimeSincePrevious.kind for field in of.get("own_fields", [])):
            sentences.append(f"{task} reads the times between events.")
        if of_users := _of_users(of):
            sentences.append(f"{task} reads of the user: {_named(of_users)}.")
    return sentences


def telling_history(description: dict, history: str, now: int) -> str | None:
    """A history that tells all that is read, or `None` where nothing but items is.

    Args:
        description: see `what_may_be_told`.
        history: str, item ids separated by spaces.
        now: int. The time of the question, in seconds since 1970.

    Example:

    >>> price = {"kind": "numbers", "name": "price", "edges": [5.0, 9.5, 20.0]}
    >>> fields = [{"kind": "time", "name": "time"}, price]
    >>> telling_history({"fields": fields}, "i7 i9", now=1700003600)
    'i7@1699996400;price=9.5 i9@1700000000;price=9.5 @1700003600'
    """
    if not what_may_be_told(description):
        return None
    fields, items = _of_events(description), history.split()
    has_times = len(fields) < len(description.get("fields", []))
    at = lambda hours: f"@{now - _HOUR * hours}" if has_times else ""
    of_event = "".join(map(_told, fields))
    words = [f"{item}{at(len(items) - n)}{of_event}" for n, item in enumerate(items)]
    of_users: dict[str, Any] = {}
    for of in description.get("tasks", {}).values():
        of_users |= {field["name"]: field for field in _of_users(of)}
    return " ".join([*words, at(0) + "".join(map(_told, of_users.values()))]).rstrip()


def _of_events(description):
    return [field for field in description.get("fields", []) if field["kind"] != "time"]


def _of_users(task):
    return task.get("user_fields", [])


def _named(fields):
    return ", ".join(f"{field['name']} ({_values(field)})" for field in fields)


def _values(field):
    if field["kind"] != "categories":
        return "a number"
    more = ", ..." if len(field["values"]) > _FEW else ""
    return ", ".join(field["values"][:_FEW]) + more


def _told(field):
    """A field as a request tells it, with a value that was there in training."""
    values = field["values"] if field["kind"] == "categories" else field["edges"]
    value = "1"
    if len(values):
        value = str(values[0]) if field["kind"] == "categories" else f"{values[len(values) // 2]:g}"
    return f";{written(field['name'])}={written(value)}"
