"""Item strings and their ids."""

from pathlib import Path

import numpy as np

from keras_peterrec.data.special_ids import FIRST_ITEM, UNK
from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import write_text

# No item can look like these lines, since items hold no white space.
_SPECIAL_LINES = ("# 0 padding", "# 1 unknown", "# 2 mask", "# 3 task token")
OUTSIDE = -1


class Vocabulary:
    """Items sorted by falling frequency, and the ids they get.

    A source vocabulary gives its first item id 4, behind the special ids, and
    everything it does not know the id 1. A target vocabulary
    (`special_ids=False`) numbers from 0, and gives -1 to what it does not know.

    Args:
        items: Sequence of str. In the order of their ids.
        special_ids: bool. Whether ids 0 to 3 are set apart. Defaults to `True`.

    Raises:
        InputError: no items, items that repeat, or items with white space.

    Example:

    >>> vocabulary = Vocabulary(["b", "a"])
    >>> vocabulary.encode(["a", "?"])
    array([5, 1], dtype=int32)
    """

    def __init__(self, items, special_ids=True):
        self.items = np.asarray(items, dtype=object)
        self.special_ids = special_ids
        self.first_id = FIRST_ITEM if special_ids else 0
        if len(self.items) == 0:
            raise InputError("`items` should hold at least one item. Received: none.")
        spaced = next((item for item in self.items if not item or item.split() != [item]), None)
        if spaced is not None:
            raise InputError(
                f"`items` should be strings without white space. Received: {spaced!r}."
            )
        if len(set(self.items)) != len(self.items):
            raise InputError("`items` should be distinct. Received: some that repeat.")
        self._table = None

    @classmethod
    def from_counts(cls, items, counts, special_ids=True, min_count=0):
        """Sorts `items` by falling `counts`, equal ones by their strings.

        Args:
            items: Sequence of str.
            counts: Sequence of int of the same length.
            special_ids: bool. See the class.
            min_count: int. Items counted less often are left out and so become
                unknown. Defaults to `0`.
        """
        items, counts = np.asarray(items, dtype=object), np.asarray(counts)
        kept = np.flatnonzero(counts >= min_count)
        if len(kept) == 0:
            raise InputError(
                "`min_count` should leave at least one item. "
                f"Received: `min_count` = {min_count}, the largest count is {counts.max()}."
            )
        by_name = np.argsort(items[kept].astype(str), kind="stable")
        kept = kept[by_name]
        return cls(items[kept[np.argsort(-counts[kept], kind="stable")]], special_ids)

    def __len__(self):
        """Number of ids, special ones included."""
        return self.first_id + len(self.items)

    def lookup_table(self, path=None):
        """TensorFlow table from string to id; from the file `path` if given.

        Training and serving both go through it. A file becomes an asset of a
        SavedModel, where a list would swell the graph.
        """
        import tensorflow as tf

        default = UNK if self.special_ids else OUTSIDE
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
        return tf.lookup.StaticHashTable(initializer, default_value=default)

    def encode(self, items):
        """Ids, int32, of a sequence of strings."""
        import tensorflow as tf

        if self._table is None:
            self._table = self.lookup_table()
        strings = tf.constant(np.asarray(items, dtype=object).tolist(), tf.string)
        return self._table.lookup(strings).numpy().astype("int32")

    def decode(self, ids):
        """Strings of a sequence of item ids (special ids are no items)."""
        places = np.asarray(ids) - self.first_id
        if np.any(places < 0):
            raise IndexError("`ids` should be ids of items. Received: a special id.")
        return self.items[places]

    def save(self, path):
        """Writes a text file, one item a line; the line's number is its id."""
        lines = [*(_SPECIAL_LINES if self.special_ids else ()), *self.items]
        write_text(path, "".join(f"{line}\n" for line in lines))

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote."""
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"`{path}` should be a vocabulary, one item a line. "
                f"Received: {type(error).__name__}."
            ) from error
        special_ids = tuple(lines[:FIRST_ITEM]) == _SPECIAL_LINES
        return cls(lines[FIRST_ITEM:] if special_ids else lines, special_ids)
