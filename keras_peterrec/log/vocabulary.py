"""Item strings and their ids, and the special ids that stand for no item."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import write_text
from keras_peterrec.log.id_text import check_ids, has_separator, written

if TYPE_CHECKING:
    import tensorflow as tf

PAD = 0  # fills rows and separates sequences; changes nothing
UNK = 1  # an item outside the vocabulary
MASK = 2  # hides an item in masked pretraining
TCL = 3  # the task token; each task trains its own embedding of it
FIRST_ITEM = 4

_SPECIAL_LINES = ("# 0 padding", "# 1 unknown", "# 2 mask", "# 3 task token")
OUTSIDE = -1  # an item outside a target vocabulary


# The only place that knows how ids of items begin; for arrays and tensors of any library.


def number_of(ids: Any) -> Any:
    """The numbers, from 0, of items of these ids; negative where an id is special."""
    return ids - FIRST_ITEM


def id_of(numbers: Any) -> Any:
    """The ids of items of these numbers, counted from 0."""
    return numbers + FIRST_ITEM


def is_item(ids: Any) -> Any:
    """Whether ids are those of items, and not special."""
    return ids >= FIRST_ITEM


def item_ids(history: Any) -> Any:
    """The ids `[B, L]` of a history that is ids, `[B, L]`, or rows of events, `[B, L, 1 + F]`."""
    return history if len(history.shape) == 2 else history[..., 0]


def event_items(rows: np.ndarray) -> np.ndarray:
    """The ids `[N]` of events that are ids, `[N]`, or rows, `[N, 1 + F]`."""
    return rows if rows.ndim == 1 else rows[:, 0]


def rows_of_items(table: Any) -> Any:
    """The rows of items in a table that has one row for each id."""
    return table[FIRST_ITEM:]


def count_items(ids: np.ndarray, items: int) -> np.ndarray:
    """How often each of so many items is among ids, int64 `[items]`; special ids do not count."""
    return rows_of_items(np.bincount(ids, minlength=id_of(items)))


class Vocabulary:
    """Items and the ids they get, in the order given.

    In a source vocabulary the first item has the id 4, after the special ids, and an
    unknown item has the id 1. A target vocabulary (`special_ids=False`) counts from 0,
    and an unknown item has -1. `Vocabulary.from_counts` sorts the items by falling
    frequency.

    Args:
        items: Sequence of str. In the order of their ids.
        special_ids: bool. Whether ids 0 to 3 are reserved. Defaults to `True`.

    Raises:
        InputError: if there are no items, an item repeats, one is empty or has a line break, or two
            are written alike where white space is encoded; see `written`.

    Example:

    >>> vocabulary = Vocabulary(["b", "a"])
    >>> vocabulary
    Vocabulary(items=2, first='b', special_ids=True)
    >>> vocabulary.encode(["a", "?"])
    array([5, 1], dtype=int32)
    """

    def __init__(self, items: Sequence[str] | np.ndarray, special_ids: bool = True) -> None:
        self.items = np.asarray(items, dtype=object)
        self.special_ids = special_ids
        self.first_id = FIRST_ITEM if special_ids else 0
        self.unknown = UNK if special_ids else OUTSIDE
        if len(self.items) == 0:
            raise InputError("`items` should hold at least one item. Received: none.")
        check_ids(self.items, "items")
        if tuple(self.items[:FIRST_ITEM]) == _SPECIAL_LINES:
            raise InputError(f"`items` should be items. Received: {', '.join(_SPECIAL_LINES)}.")
        if len(set(self.items)) != len(self.items):
            [(repeated, _)] = Counter(self.items).most_common(1)
            raise InputError(
                f"`items` should all be different. Received: {repeated!r} more than once."
            )
        self._table: tf.lookup.StaticHashTable | None = None
        self._written: Vocabulary | None = None

    @classmethod
    def from_counts(
        cls,
        items: Sequence[str] | np.ndarray,
        counts: Sequence[int] | np.ndarray,
        special_ids: bool = True,
        min_count: int = 0,
    ) -> Vocabulary:
        """Sorts `items` by falling `counts`, and those with equal counts by name.

        Args:
            items: Sequence of str.
            counts: Sequence of int, one for each item.
            special_ids: bool. See the class. Defaults to `True`.
            min_count: int. Items with a smaller count are left out and so become
                unknown. Defaults to `0`.

        Raises:
            InputError: if `min_count` leaves no item, or the items are not allowed.
        """
        items = np.asarray(items, dtype=object)
        return cls(items[order_by_counts(items, counts, min_count)], special_ids)

    def select(self, places: np.ndarray) -> Vocabulary:
        """A Vocabulary of some of its items.

        Args:
            places: int array of different numbers, at least one. The items, counted from 0, in the
                order of their new ids.
        """
        shorter = copy.copy(self)
        shorter.items, shorter._table, shorter._written = self.items[places], None, None
        return shorter

    def __len__(self) -> int:
        """The number of ids, special ones included."""
        return self.first_id + len(self.items)

    def __repr__(self) -> str:
        return (
            f"Vocabulary(items={len(self.items)}, first={self.items[0]!r}, "
            f"special_ids={self.special_ids})"
        )

    def lookup_table(self, path: str | Path | None = None) -> tf.lookup.StaticHashTable:
        """Returns a TensorFlow table from string to id, which training and serving share.

        Args:
            path: str, path or `None`. A file written by `save` or `save_written`. The table
                then reads that file, which becomes an asset of a SavedModel; a list would
                make the graph larger. Defaults to `None`.
        """
        import tensorflow as tf

        if path is None:
            ids = tf.range(self.first_id, len(self), dtype=tf.int64)
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(self.items.tolist(), tf.string), ids
            )
        else:
            initializer = tf.lookup.TextFileInitializer(
                str(path),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
        return tf.lookup.StaticHashTable(initializer, default_value=self.unknown)

    def encode(self, items: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns the ids of a sequence of strings, int32 `[N]`."""
        import tensorflow as tf

        strings = tf.constant(np.asarray(items, dtype=object).tolist(), tf.string)
        return self.table.lookup(strings).numpy().astype("int32")

    def encode_written(self, items: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns the ids of items as they stand in a history, int32 `[N]`; see `written`."""
        # A text that UTF-8 cannot write is in no vocabulary.
        return self.as_written.encode([item.encode("utf-8", "replace").decode() for item in items])

    @property
    def as_written(self) -> Vocabulary:
        """The same of items as they stand in a history; see `written`."""
        if self._written is None:
            self._written = self
            if self.has_separators:
                self._written = Vocabulary(list(map(written, self.items)), self.special_ids)
        return self._written

    @property
    def table(self) -> tf.lookup.StaticHashTable:
        """The `lookup_table` of its items, made once."""
        if self._table is None:
            self._table = self.lookup_table()
        return self._table

    def decode(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the strings of a sequence of item ids, an object array of their shape.

        Raises:
            IndexError: if an id is special or beyond the last item.
        """
        places = np.asarray(ids) - self.first_id
        if np.any(places < 0):
            raise IndexError("`ids` should be ids of items. Received: a special id.")
        return self.items[places]

    @property
    def has_separators(self) -> bool:
        """Whether an item has white space, so that a history holds it encoded; see `written`."""
        return has_separator(self.items)

    def save(self, path: str | Path) -> None:
        """Writes a text file with one item a line; the line's number is its id."""
        self._write_lines(path, self.items)

    def save_written(self, path: str | Path) -> None:
        """Writes the same file with the items as they stand in a history; see `written`."""
        self._write_lines(path, map(written, self.items))

    def _write_lines(self, path, items):
        lines = [*(_SPECIAL_LINES if self.special_ids else ()), *items]
        write_text(path, "".join(f"{line}\n" for line in lines))

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Reads a file that `save` wrote.

        Raises:
            InputError: if the file is missing or is not a vocabulary.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"`path` should be a vocabulary with one item a line. "
                f"Received: {path} ({type(error).__name__}). Copy the folder again from where it "
                "is whole, or run the command again that wrote it."
            ) from error
        special_ids = tuple(lines[:FIRST_ITEM]) == _SPECIAL_LINES
        return cls(lines[FIRST_ITEM:] if special_ids else lines, special_ids)


def order_by_counts(
    items: Sequence[str] | np.ndarray, counts: Sequence[int] | np.ndarray, min_count: int = 0
) -> np.ndarray:
    """The positions of items in the order of a vocabulary: by falling counts, then by name.

    Items, a sequence or pyarrow array of different strings, with a smaller count than `min_count`
    are left out; InputError if it leaves none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = np.asarray(counts)
    kept = np.flatnonzero(counts >= min_count)
    if len(kept) == 0:
        raise InputError(
            "`min_count` should leave at least one item. Received: "
            f"`min_count` = {min_count}, the largest count is {counts.max(initial=0)}."
        )
    names = pa.array(items, pa.string()).take(pa.array(kept))
    keys = [("count", "descending"), ("name", "ascending")]
    return kept[pc.sort_indices(pa.table({"count": counts[kept], "name": names}), keys).to_numpy()]


def counted_vocabulary(
    items: np.ndarray, counts: np.ndarray, min_count: int
) -> tuple[Vocabulary, np.ndarray, np.ndarray]:
    """The items that training sees often enough, and how often it does.

    Args:
        items: object array `[I]` of different str.
        counts: int array `[I]`. How often training sees each of them.

    Returns:
        Vocabulary, its counts `[V]`, and an int32 array `[I]`, the ids that it gives `items`.

    Raises:
        InputError: there is no such item.
    """
    order = order_by_counts(items, counts, min_count)
    ids = np.full(len(items), UNK, "int32")
    ids[order] = id_of(np.arange(len(order)))
    return Vocabulary(items[order]), counts[order], ids


def check_lines(path: str | Path, count: int) -> None:
    """Raises an InputError if a file has another number of lines, without holding it in memory.

    A file that cannot be read is left to `Vocabulary.load`.
    """
    lines = 0
    with contextlib.suppress(OSError), open(path, "rb") as file:
        while block := file.read(2**20):
            lines += block.count(b"\n")
        if lines != count:
            raise InputError(
                f"`{path}` should have {count:,} lines, as the settings beside it say. "
                f"Received: {lines:,}."
            )
