"""Which columns of a table are read, and what they are called there."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_peterrec.errors import InputError, refuse

LOG_COLUMNS = ("user_id", "item_id", "timestamp")
EVENT_TYPE = "event_type"
# Other common names of these columns, lower case and without `_`; messages suggest them.
_ALIASES = {
    "user_id": "user users userid uid userno customer customerid visitorid sessionid accountid",
    "item_id": "item items itemid iid movieid filmid productid articleid asin sku videoid",
    "timestamp": "time ts date datetime eventtime createdat unixtime unixreviewtime",
    "event_type": "event eventname action behavior behaviour type",
}


def as_renames(columns: Any) -> dict[str, str]:
    """What a table calls the standard columns, `{"user_id": "userId", ...}`.

    Given is such a dict, `"user_id=userId,item_id=itemId"`, or `None` for the standard names;
    InputError for anything else, and for another column.
    """
    known = (*LOG_COLUMNS, EVENT_TYPE)
    if columns is None:
        return {}
    pairs = columns
    if isinstance(columns, str):
        pairs = dict(part.partition("=")[::2] for part in columns.split(","))
    if not isinstance(pairs, dict) or not all(isinstance(n, str) and n for n in pairs.values()):
        refuse("columns", "given like user_id=userId,item_id=itemId,timestamp=ts", columns)
    pairs = {name.strip(): there.strip() for name, there in pairs.items()}
    for name, there in pairs.items():
        if name not in known:
            turned = f" (the other way round: {there}={name})" if there in known else ""
            raise InputError(
                f"`columns` should say what {', '.join(known)} are called in the files. "
                f"Received: {name}={there}{turned}."
            )
    return pairs


def as_events(events: Any) -> tuple[str, ...] | None:
    """The kinds of event to keep, of a list or `"buy,cart"`, as a tuple; `None` keeps all.

    Raises:
        InputError: it is something else, or names no event.
    """
    return (
        None if events is None else _as_names(events, "events", "kinds of event, such as buy,cart")
    )


def as_fields(
    fields: Any, argument: str = "fields", what: str = "columns of the log, such as price,channel"
) -> tuple[str, ...]:
    """The columns that events carry as fields, of a list, `"price,channel"` or `None`; or users.

    `argument` and `what` are what messages call them, and what they should be.

    Raises:
        InputError: it is something else, or names a column that is read anyway.
    """
    if fields is None:
        return ()
    names = _as_names(fields, argument, what)
    if set(names) & set(LOG_COLUMNS):
        refuse(argument, f"other columns than {', '.join(LOG_COLUMNS)}", fields)
    return names


def field_and_values(text: Any) -> tuple[str, tuple[str, ...]]:
    """A column and some of its values, of `"event_type=cart,buy"`; InputError for other forms."""
    field, _, values = text.partition("=") if isinstance(text, str) else ("", "", "")
    names = tuple(value.strip() for value in values.split(","))
    if not field.strip() or not all(names):
        refuse("predict", "a column and its values, such as event_type=buy", text)
    return field.strip(), names


def _as_names(given, argument, allowed):
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, (list, tuple)) or not all(isinstance(n, str) for n in parts):
        refuse(argument, allowed, given)
    named = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not named:
        raise InputError(f"`{argument}` should name at least one. Received: {given!r}.")
    return named


def find_columns(there: Sequence[str], wanted: Iterable[str], renames: dict, where: str) -> dict:
    """Where a table has the wanted columns, `{"user_id": "userId", ...}`.

    A column that is renamed may have its standard name as well, as in another of the files.
    `where` is what messages call the table.

    Raises:
        InputError: a column is missing, or there twice.
    """
    places = {}
    for name in wanted:
        asked = [renames[name]] if name in renames else []
        fitting = [n for want in (*asked, name) for n in there if n.strip() == want]
        places[name] = fitting[0] if fitting else None
        if fitting.count(places[name]) != 1:
            called = " or ".join(f"`{n}`" for n in dict.fromkeys([*asked, name]))
            raise InputError(
                f"`path` should have one column {called}. Received: {where} with the columns "
                f"{_shown(there)}{_hint(there, wanted, renames)}."
            )
    return places


def _shown(there):
    names = [name if len(name) <= 60 else f"{name[:57]}..." for name in there]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _hint(there, wanted, renames):
    """What is probably wrong where a column is missing, or `""`."""
    if len(there) == 1 and any(not (c.isalnum() or c in "_-.") for c in there[0]):
        return "; its separator should be a comma, tab, semicolon or |"
    if all(name.strip().lstrip("-").replace(".", "", 1).isdigit() for name in there):
        return "; a first line with the names of the columns seems to be missing"
    plain = {name.lower().replace("_", "").replace(" ", ""): name for name in there}
    guessed = []
    for name in wanted:
        if name in there or name in renames or name not in _ALIASES:
            continue
        alias = next(
            (a for a in (name.replace("_", ""), *_ALIASES[name].split()) if a in plain), None
        )
        if alias is not None:
            guessed.append(f"{name}={plain[alias]}")
    return f"; try --columns {','.join(guessed)}" if guessed else ""


def refuse_reading(what: str, **settings: Any) -> None:
    """Raises InputError if settings of reading are given for a log that is not read by columns.

    `what` names the log, and says why they cannot be used.
    """
    for name, value in settings.items():
        if value is not None:
            refuse(name, f"left out for {what}", value)
