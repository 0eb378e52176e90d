"""Which targets lie in the history before them, and what a run says of that."""

import numpy as np

from keras_peterrec.integers import distinct, distinct_pairs, offsets_of, slices
from keras_peterrec.log.events import Events
from keras_peterrec.log.task_examples import ItemLists
from keras_peterrec.log.vocabulary import Vocabulary, is_item


def what_is_seen(summary: dict) -> str | None:
    """What a run says of what was decided; `None` where no target lies in a history.

    The summary has `truths_in_history`, a share, and `keep_seen`.
    """
    share, kept = summary["truths_in_history"], summary["keep_seen"]
    if not share:
        return None
    follows, other = ("kept", "leaves them out") if kept else ("left out", "keeps them")
    option = "--no-keep-seen" if kept else "--keep-seen"
    return (
        f"{share:.1%} of the targets are in the history: seen items are {follows}; {option} {other}"
    )


def share_of_repeats(sequences: Events) -> float:
    """The share of the next items that training asks for that lie in the history before them."""
    owners, place = sequences.users.astype("int64"), sequences.places
    asked = (place < sequences.split.trained[owners]) & is_item(sequences.items)
    pairs = owners[asked] * (1 + np.int64(np.max(sequences.items, initial=0)))
    pairs += sequences.items[asked]
    if sequences.asked is not None:  # repeats of whatever event, in those that are predicted
        is_target = (sequences.asked & (place > 0))[asked]
        again = np.ones(len(pairs), bool)
        again[np.unique(pairs, return_index=True)[1]] = False
        found = int(np.count_nonzero(again & is_target))
        return found / max(1, int(np.count_nonzero(is_target)))
    targets = int(np.count_nonzero(asked & (place > 0)))
    return float((len(pairs) - len(distinct(pairs))) / max(1, targets))


def answered_events(source: Events, answers: Vocabulary) -> Events:
    """The events of a source log whose items can be answered, in the ids of the answers.

    Items that the source's own vocabulary lacks are among them, as in the history that a server is
    given. `answers` is a Vocabulary without special ids.
    """
    return source.log.encode(answers, known_only=True)


def are_seen(history: Events, slices: np.ndarray, lists: ItemLists) -> np.ndarray:
    """Whether each item of E lists lies in its row's slice of a history, bool `[N]`.

    Slices are starts and stops, `[E, 2]`, in events of `answered_events`; each starts where a
    user's events do.
    """
    size = 1 + max(np.max(history.items, initial=0), np.max(lists.items, initial=0)).astype("int64")
    pairs, first = np.unique(history.users * size + history.items, return_index=True)
    if not len(pairs):
        return np.zeros(len(lists.items), bool)
    users = np.searchsorted(history.offsets, slices[:, 0], side="right") - 1
    asked = users[lists.rows] * size + lists.items
    place = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    return (pairs[place] == asked) & (first[place] < slices[lists.rows, 1])


def distinct_items(
    items: np.ndarray, starts: np.ndarray, stops: np.ndarray, first: int = 0
) -> tuple:
    """The items of E slices, each once, as offsets `[E + 1]` and one list.

    Ids below `first` are left out.
    """
    lengths = stops - starts
    owners, places = slices(starts, lengths)
    seen = items[places]
    kept, size = seen >= first, np.int64(np.max(seen, initial=0)) + 1
    owners, seen = distinct_pairs(owners[kept], seen[kept], size)
    counts = np.bincount(owners, minlength=len(lengths))
    return offsets_of(counts), seen
