"""Mistakes in a history that would go unnoticed: commas between items, and unknown items."""


def comma_hint(history):
    """What to tell someone whose history is one word with commas, or `None`.

    Such a history is answered: as of one item, which nobody knows.

    Args:
        history: str.

    Returns:
        str or `None`.

    Example:

    >>> comma_hint("i1,i2")
    "the history 'i1,i2' is one item with commas in it; between items stand spaces: 'i1 i2'"
    """
    words = history.split()
    if len(words) != 1 or "," not in words[0].strip(","):
        return None
    shown = words[0] if len(words[0]) <= 60 else words[0][:60] + "..."
    return (
        f"the history {shown!r} is one item with commas in it; between items stand spaces: "
        f"{' '.join(shown.split(','))!r}"
    )


def known_hint(history, known, events):
    """What to tell someone of whose history some events are of unknown items, else `None`.

    Args:
        history: str.
        known: int. How many of its events are known.
        events: int. How many it has.

    Returns:
        str or `None`.

    Example:

    >>> known_hint("i1 x y", 1, 3)
    "history 'i1 x y': 1 of 3 items is known"
    """
    if known == events:
        return None
    shown = history if len(history) <= 60 else history[:60] + "..."
    verb = "is" if known == 1 else "are"
    said = f"history {shown!r}: {known} of {events} items {verb} known"
    if not known:
        said += "; the answer is that of an empty history"
    return f"{said}; between items stand spaces, not commas" if "," in history else said
