"""Histories of a log as texts: what a signature of an export reads."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.log.id_text import has_space, written


class HistoryTexts:
    """Each user's items in order of time, as texts that a signature reads.

    Args:
        log: Log.

    Attributes:
        user_ids: object array of str, `[U]`.
        lengths: int array `[U]`, how many events each has.
    """

    def __init__(self, log: Any) -> None:
        order = np.lexsort((log.timestamps, log.users))  # stable: ties keep the order of the rows
        self.user_ids = log.user_ids
        self.lengths = np.bincount(log.users, minlength=len(log.user_ids))
        self._offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self._items = log.items[order]
        self._texts = written_texts(log.item_ids)

    def __len__(self) -> int:
        return len(self.user_ids)

    def texts(self, start: int, stop: int) -> np.ndarray:
        """Items of users `start` to `stop`, separated by spaces: object array of str."""
        offsets = self._offsets[start : stop + 1]
        codes = self._items[offsets[0] : offsets[-1]]
        joined = joined_texts(self._texts, codes, offsets - offsets[0])
        return joined.to_numpy(zero_copy_only=False)


def written_texts(item_ids: Any) -> pa.Array:
    """Items as they stand in a history: pyarrow array of strings."""
    texts = map(written, item_ids) if has_space(item_ids) else item_ids
    return pa.array(list(texts), pa.string())


def joined_texts(texts: pa.Array, codes: Any, offsets: Any) -> pa.Array:
    """Histories as texts, items separated by spaces: pyarrow array of strings, `[U]`.

    Args:
        texts: pyarrow array of strings, of `written_texts`.
        codes: int array `[N]`, rows of `texts`, user by user.
        offsets: int array `[U + 1]`. User u has `codes[offsets[u]:offsets[u + 1]]`.
    """
    offsets = pa.array(np.asarray(offsets, "int32"))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts.take(pa.array(codes))), " ")
