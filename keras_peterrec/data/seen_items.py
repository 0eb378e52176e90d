"""Whether items of the history are recommended, decided once for all that follows."""

from typing import Any

import numpy as np

from keras_peterrec.data.vocabulary import FIRST_ITEM

# From this share on of what training asks for that lies in the history, seen items are kept. What
# is left out can never be right, so a tenth is what every hit rate would lose; keeping them costs
# only the places of a list in which a model that has learned better sets them.
KEPT_FROM = 0.1


def keeps_seen(share: float) -> bool:
    """Whether items of the history are recommended.

    Args:
        share: float. Of the items that training asks for, those that lie in the history.
    """
    return share >= KEPT_FROM


def what_is_seen(summary: dict) -> str | None:
    """What a run says of what was decided; `None` where no target lies in a history.

    Args:
        summary: dict of `truths_in_history`, a share, and `keep_seen`, bool.
    """
    share, kept = summary["truths_in_history"], summary["keep_seen"]
    if not share:
        return None
    follows, other = ("kept", "leaves them out") if kept else ("left out", "keeps them")
    option = "--no-keep-seen" if kept else "--keep-seen"
    return (
        f"{share:.1%} of the targets are in the history: seen items are {follows}; {option} {other}"
    )


def share_of_repeats(sequences: Any) -> float:
    """The share of the next items that training asks for that lie in the history before them.

    Args:
        sequences: Sequences.
    """
    lengths, trained = sequences.lengths, sequences.split.trained
    owners = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(owners)) - sequences.offsets[owners]
    asked = (place < trained[owners]) & (sequences.items >= FIRST_ITEM)
    pairs = owners[asked] * (1 + np.int64(np.max(sequences.items, initial=0)))
    pairs += sequences.items[asked]
    targets = np.count_nonzero(asked & (place > 0))
    return float((len(pairs) - len(np.unique(pairs))) / max(1, targets))
