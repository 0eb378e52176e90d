"""A signature that gives the items most like some items."""

import numpy as np
import tensorflow as tf
from keras import ops

from keras_peterrec.log.event_text import split_items
from keras_peterrec.log.item_table import NO_SCORE, ItemTable
from keras_peterrec.log.preprocessing import event_counts
from keras_peterrec.serving.signature_names import SIMILAR
from keras_peterrec.serving.signatures import concrete
from keras_peterrec.transfer.host import Host


class SimilarItems:
    """A function of items: which others are most like them.

    | input | |
    |---|---|
    | `items` | string `[B]`, one item id, or several separated by white space |

    | output | |
    |---|---|
    | `items` | string `[B, k]`, the most similar first, without those that were given |
    | `scores` | float32 `[B, k]`, cosines; the lowest float32 where there is no item |
    | `known_events`, `events` | int32 `[B]`, how many of the given items are known, of how many |

    The similarity is the cosine of the items' rows in the host's output table: of what tells when
    an item comes next. (Of MovieLens-1M's films, 10 neighbours by it share 75 % of their genres, by
    the vectors with which the host reads items 63 %, by chance 40 %; and those of American Beauty
    are then known to those who saw it.) Of several items, it is that with the sum of their unit
    vectors. Unknown items are left out. The table lies in the export anyway; beside it only the
    rows' lengths are kept.

    Args:
        source: ItemTable of the source log.
        k: items of an answer.

    Attributes:
        function: the concrete function.
        lengths: tf.Variable, float32 `[V]`.
    """

    def __init__(self, host: Host, source: ItemTable, k: int) -> None:
        self._source, self._k = source, k
        self._host = host
        vectors = ops.convert_to_numpy(host.pretrainer.item_table).astype("float32")
        lengths = np.linalg.norm(vectors, axis=1)
        self.lengths = tf.Variable(np.maximum(lengths, np.finfo("float32").tiny))
        self.function = concrete(self._answer, SIMILAR)

    def _answer(self, items):
        items = split_items(items)
        given = items.with_values(self._source.ids.lookup(items.values))
        named = given - self._source.first_id
        in_table = named.flat_values >= 0
        ids, rows = (
            tf.boolean_mask(v, in_table) for v in (named.flat_values, named.value_rowids())
        )
        table = tf.cast(ops.convert_to_tensor(self._host.pretrainer.item_table), tf.float32)
        units = tf.gather(table, ids) / tf.gather(self.lengths, ids)[:, tf.newaxis]
        query = tf.math.unsorted_segment_sum(units, rows, tf.shape(items)[0])
        size = tf.sqrt(tf.reduce_sum(query * query, axis=1, keepdims=True))
        query /= tf.where(size > 0, size, 1.0)
        cosines = tf.matmul(query, table, transpose_b=True) / self.lengths
        scores = tf.where(size > 0, cosines, NO_SCORE)
        return self._source.best(scores, items, self._k) | event_counts(given)
