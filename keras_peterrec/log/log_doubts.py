"""What looks wrong in a log, in one line each; nothing here stops a command."""

import numpy as np

from keras_peterrec.log.clocks import unit_of
from keras_peterrec.log.events import Events
from keras_peterrec.log.id_text import has_separator

# Of the events, at most so many are looked at.
_SAMPLE = 300_000
# Columns look swapped where items are less patient than users by this factor; see `_patience`.
_SWAPPED = 10.0
_MANY_TIES = 0.1
_LEAST_EVENTS = 1_000  # fewer may look like anything


def doubts_of(log: Events) -> list[str]:
    """Lines about what is probably a mistake in a log."""
    doubts = []
    ids = log.item_ids if has_separator(log.item_ids) else []
    spaced = [item for item in ids if item[0].isspace() or item[-1].isspace()]
    if spaced:
        doubts.append(
            f"{len(spaced):,} item ids begin or end with white space, such as {spaced[0]!r}; "
            "they are kept as they are"
        )
    if looks_swapped(log):
        doubts.append(
            f"{len(log.item_ids):,} items come and go as users do, and {len(log.user_ids):,} users "
            "as items do: are the columns user_id and item_id swapped?"
        )
    return doubts


def looks_swapped(log: Events) -> bool:
    """Whether the column of users seems to hold the items, and the other way round.

    A user's events come in sessions, close together; an item's come whenever somebody wants it.
    So where the clock is known, and there are more "items" than "users", the columns look swapped
    if it is the items whose events come close together. Where timestamps only number a user's
    events, no user has the same number twice.
    """
    if len(log.item_ids) <= len(log.user_ids) or len(log) < _LEAST_EVENTS:
        return False
    if unit_of(log.timestamps) is None:
        return _ties(log.items, log) == 0 and (_ties(log.users, log) or 0) > _MANY_TIES
    of_users, of_items = (_patience(codes, log) for codes in (log.users, log.items))
    if of_users is None or of_items is None:
        return False
    return of_items * _SWAPPED < of_users


def _sample(codes):
    """Rows of some users or items, all rows of each, in no order."""
    step = -(-len(codes) // _SAMPLE)
    return np.flatnonzero(codes % step == 0)


def _ordered(codes, log):
    rows = _sample(codes)
    codes, times = codes[rows], log.timestamps[rows]
    order = np.lexsort((times, codes))
    same = np.diff(codes[order]) == 0
    return codes[order][1:][same], np.diff(times[order])[same]


def _ties(codes, log):
    """The share of events at the time of the one before, of a user or an item.

    `None` where most have only one event.
    """
    _, gaps = _ordered(codes, log)
    return float(np.mean(gaps == 0)) if 2 * len(gaps) > len(_sample(codes)) else None


def _patience(codes, log):
    """The median time between two events of one user or item, as a share of what it would be if
    they came evenly over the log.
    """
    owners, gaps = _ordered(codes, log)
    span = float(log.timestamps.max() - log.timestamps.min())
    if not len(gaps) or span <= 0:
        return None
    counts = np.bincount(codes)[owners]
    return float(np.median((gaps + 1.0) * counts)) / span
