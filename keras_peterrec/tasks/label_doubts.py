"""What looks wrong in a column of classes, in one line each; nothing here stops a command."""

from collections.abc import Sequence

import numpy as np

HANDFUL = 10  # users of a class that are too few to learn it from
MANY_CLASSES = 100
_SHOWN = 3


def class_doubts(names: Sequence[str], counts: np.ndarray) -> list[str]:
    """Lines about classes that look alike, are rare, or are too many for the users.

    Args:
        names: list of str, the classes or labels.
        counts: int array `[n]`, how many users have each.
    """
    counts = np.asarray(counts, "int64")
    return [*_alike(names, counts), *_few(names, counts)]


def _alike(names, counts):
    """Classes that differ only by case or white space, those of most users first."""
    groups = {}
    for name, count in zip(names, counts.tolist()):
        groups.setdefault("".join(name.split()).casefold(), []).append((count, name))
    groups = [sorted(group, reverse=True) for group in groups.values() if len(group) > 1]
    if not groups:
        return []
    groups.sort(reverse=True)
    shown = "; ".join(
        " and ".join(f"{name!r} ({count:,})" for count, name in group) for group in groups[:_SHOWN]
    )
    more = f"; and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    return [f"classes differ only by case or white space, are they one? {shown}{more}"]


def _few(names, counts):
    """Classes of too few users: all of them together, or some."""
    each = counts.sum() / len(names)
    if each < HANDFUL:
        return [
            f"{len(names):,} classes have {each:.1f} users each: too few to tell them apart, so "
            "join the rare ones"
        ]
    rare = np.flatnonzero(counts < HANDFUL)
    rare = rare[np.argsort(counts[rare], kind="stable")]
    lines = []
    if len(rare):
        shown = ", ".join(f"{names[n]!r} ({counts[n]})" for n in rare[:_SHOWN])
        more = f" and {len(rare) - _SHOWN:,} more" if len(rare) > _SHOWN else ""
        lines.append(
            f"{len(rare):,} of {len(names):,} classes have fewer than {HANDFUL} users: {shown}"
            f"{more}; expect nothing of them"
        )
    if len(names) > MANY_CLASSES:
        lines.append(f"{len(names):,} classes: is the column a name or an id rather than a class?")
    return lines
