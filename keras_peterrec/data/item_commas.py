"""A mistake that would go unnoticed: commas between the items of a history."""


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
