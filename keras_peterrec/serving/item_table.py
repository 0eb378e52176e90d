"""Items of a vocabulary inside a SavedModel, by id and by name."""

from pathlib import Path

import tensorflow as tf

from keras_peterrec.data.preprocessing import split_history

# They fill an answer when fewer than `k` unseen items are left. The score is not minus infinity,
# because JSON cannot hold it.
NO_ITEM = ""
NO_SCORE = tf.float32.min


class ItemTable(tf.Module):
    """Lookup tables from item to id and back, both of one text file.

    The file becomes an asset of the SavedModel; the graph holds no strings. Where items have white
    space, it holds them as a history does, encoded (see `data/id_text.py`), and a second file holds
    the items themselves, which answers name.

    Args:
        vocabulary: Vocabulary, written to `path`.
        path: path of the text file. Tables are named after it in the process that loads them, so
            two exports should not use the same path.

    Example:

    >>> table = ItemTable(Vocabulary(["a", "b"]), "vocabulary.txt")
    >>> scores, history = tf.constant([[0.9, 0.1]]), tf.constant(["a"])
    >>> table.best_unseen(scores, history, k=1)["items"].numpy()
    array([[b'b']], dtype=object)
    """

    def __init__(self, vocabulary, path):
        super().__init__(name="item_table")
        vocabulary.save_written(path)
        answered = Path(path)
        if vocabulary.has_spaces:
            answered = answered.with_stem(f"{answered.stem}_as_answered")
            vocabulary.save(answered)
        self.first_id = vocabulary.first_id
        self.size = len(vocabulary.items)
        self.ids = vocabulary.lookup_table(path)
        self.items = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(answered),
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value=NO_ITEM,
        )

    def best_unseen(self, scores, history, k):
        """The best `k` items that are not in a history.

        Args:
            scores: float32 tensor `[B, V]`, one score for each item in the order of the ids.
            history: string tensor `[B]`; all of its items count as seen.
            k: int. Items of an answer, at most V.

        Returns:
            dict of `items`, string `[B, k]`, and `scores`, float32 `[B, k]`, best
            first. If fewer than `k` unseen items are left, the rest is `""` with the lowest
            float32.
        """
        seen = split_history(history, self.ids) - self.first_id  # [B, (n)]
        cells = tf.stack([seen.value_rowids(), seen.flat_values], axis=1)
        cells = tf.boolean_mask(cells, seen.flat_values >= 0)
        hidden = tf.fill(tf.shape(cells)[:1], NO_SCORE)
        scores = tf.tensor_scatter_nd_update(scores, cells, hidden)
        best, columns = tf.math.top_k(scores, min(k, self.size))
        items = self.items.lookup(tf.cast(columns, tf.int64) + self.first_id)
        return {"items": tf.where(best > NO_SCORE, items, NO_ITEM), "scores": best}
