"""Items of a vocabulary inside a SavedModel, by id and by name."""

from pathlib import Path

import tensorflow as tf

from keras_peterrec.files.atomic_write import write_text
from keras_peterrec.log.event_text import split_items
from keras_peterrec.log.id_text import written

# They fill an answer when fewer than `k` unseen items are left. The score is not minus infinity,
# because JSON cannot hold it.
NO_ITEM = ""
NO_SCORE = tf.float32.min
HIDDEN = "hidden_items.txt"  # may be changed after the export


class ItemTable(tf.Module):
    """Lookup tables from item to id and back, both of one text file.

    The file becomes an asset of the SavedModel; the graph holds no strings. Where items have white
    space, it holds them as a history does, encoded (see `log/id_text.py`), and a second file holds
    the items themselves, which answers name. Tables are named after the file in the process that
    loads them, so two exports should not use the same path.

    Titles and a list of items that may not be shown can be added before an answer is traced.

    Example:

    >>> table = ItemTable(Vocabulary(["a", "b"]), "vocabulary.txt")
    >>> scores, seen = tf.constant([[0.9, 0.1]]), tf.ragged.constant([["a"]])
    >>> table.best(scores, seen, k=1)["items"].numpy()
    array([[b'b']], dtype=object)
    """

    def __init__(self, vocabulary, path):
        super().__init__(name="item_table")
        vocabulary.save_written(path)
        answered = Path(path)
        if vocabulary.has_separators:
            answered = answered.with_stem(f"{answered.stem}_as_answered")
            vocabulary.save(answered)
        self._path = Path(path)
        self._items = vocabulary.items
        self.titles = self.hidden = None
        self.first_id = vocabulary.first_id
        self.size = len(vocabulary.items)
        self.ids = vocabulary.lookup_table(path)
        self.items = lines_table(answered)

    def add_titles(self, titles):
        """Lets answers give the items' titles as well; items without one get `""`."""
        path = self._path.with_stem(f"{self._path.stem}_titles")
        lines = [*[""] * self.first_id, *(titles.get(item, "") for item in self._items)]
        # TensorFlow refuses a file with an empty line, so each line begins with a space.
        write_text(path, "".join(f" {' '.join(line.split())}\n" for line in lines))
        self.titles = lines_table(path)

    def hide(self, hidden):
        """Leaves what a table of `hidden_items` lists out of all answers; ignores unknown items."""
        self.hidden = hidden

    def selected(self, scores, k, keeps, seen, allow, deny, own_k, keep_seen):
        """The best items that a request allows, as a dict; see `best`.

        Args:
            scores: float32 tensor `[B, V]`, one score for each item in the order of the ids.
            k: int. Places of an answer, at most V.
            keeps: bool. Whether the items of the history stay where a request does not say it.
            seen: ragged string tensor `[B, (n)]`. The items of the history.
            allow: string tensor `[B]`, ids separated by white space. Only these items; all where it
                is empty.
            deny: string tensor `[B]`, as `allow`. None of these items.
            own_k: int32 tensor `[B]`. Items of each row, at most `k`; 0 for `k`.
            keep_seen: int32 tensor `[B]`. 0 leaves out the items of the history, 1 keeps them, -1
                does as `keeps` says.
        """
        # Also where no word is an item of this table: nothing is allowed then.
        limited = tf.strings.split(allow).row_lengths() > 0
        allowed = self._cells(split_items(allow))
        values = tf.gather_nd(scores, allowed)
        scores = tf.where(limited[:, tf.newaxis], NO_SCORE, scores)
        scores = tf.tensor_scatter_nd_update(scores, allowed, values)
        cells = self._cells(seen)
        keep = tf.where(keep_seen < 0, int(keeps), keep_seen)
        cells = tf.boolean_mask(cells, tf.gather(keep, cells[:, 0]) == 0)
        denied = self._cells(split_items(deny))
        places = tf.range(min(k, self.size))[tf.newaxis]
        inside = (places < own_k[:, tf.newaxis]) | (own_k[:, tf.newaxis] <= 0)
        return self._best(_without(_without(scores, cells), denied), k, inside)

    def best(self, scores, seen, k, keep_seen=False):
        """The best `k` items, at most V, without those seen or, with `keep_seen`, with them.

        Scores are float32 `[B, V]`, in the order of the ids; `seen` is ragged strings `[B, (n)]`.

        Returns:
            dict of `items`, string `[B, k]`, and `scores`, float32 `[B, k]`, best first; with
            titles also `titles`, string `[B, k]`. If fewer than `k` items are left, the rest is
            `""` with the lowest float32.
        """
        if not keep_seen:
            scores = _without(scores, self._cells(seen))
        return self._best(scores, k)

    def _cells(self, items):
        """Row and column in `[B, V]` of each item, of ragged items `[B, (n)]`: `[m, 2]`."""
        columns = self.ids.lookup(items.values) - self.first_id
        cells = tf.stack([items.value_rowids(), columns], axis=1)
        return tf.boolean_mask(cells, columns >= 0)

    def _best(self, scores, k, inside=True):
        """The answer of the best `k` that may be shown; `inside` says which places may hold one."""
        if self.hidden is not None:
            columns = self.ids.lookup(listed(self.hidden)) - self.first_id
            scores = tf.where(are_among(columns, self.size), NO_SCORE, scores)
        best, columns = tf.math.top_k(scores, min(k, self.size))
        ids, shown = tf.cast(columns, tf.int64) + self.first_id, (best > NO_SCORE) & inside
        answer = {
            "items": tf.where(shown, self.items.lookup(ids), NO_ITEM),
            "scores": tf.where(shown, best, NO_SCORE),
        }
        if self.titles is not None:
            answer["titles"] = tf.where(shown, tf.strings.strip(self.titles.lookup(ids)), "")
        return answer


def lines_table(path):
    """A lookup table from the number of a line in a text file, counted from 0, to the line."""
    index = tf.lookup.TextFileIndex
    initializer = tf.lookup.TextFileInitializer(
        str(path), tf.int64, index.LINE_NUMBER, tf.string, index.WHOLE_LINE
    )
    return tf.lookup.StaticHashTable(initializer, default_value=NO_ITEM)


def hidden_items(items, folder):
    """Writes the list of items that may not be shown into a folder, and gives the table of it."""
    path = Path(folder) / HIDDEN
    lines = ["# Items that may not be shown, one a line, none empty; read at every load."]
    write_text(path, "".join(f"{line}\n" for line in [*lines, *map(written, items)]))
    return lines_table(path)


def listed(hidden):
    """The items of a table of `hidden_items`, as a history has them: string tensor `[n]`."""
    _, names = hidden.export()  # of unknown shape
    return tf.reshape(names, [-1])


def are_among(ids, size):
    """Whether each number below `size` is among ids, bool `[size]`; negative ids are ignored."""
    ids = tf.boolean_mask(ids, ids >= 0)
    return tf.math.unsorted_segment_sum(tf.ones_like(ids, tf.int32), ids, size) > 0


def _without(scores, cells):
    """The scores with the lowest of all in some cells."""
    hidden = tf.fill(tf.shape(cells)[:1], NO_SCORE)
    return tf.tensor_scatter_nd_update(scores, cells, hidden)
