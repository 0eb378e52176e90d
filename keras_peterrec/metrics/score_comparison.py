"""Which items score at least as high as a target."""

import numpy as np

from keras_peterrec.metrics.ranking_inputs import exact_scores

# Flags in one packed sum: eight counters in a word, each of at most 128.
PACKED = 8 * 128
# Couples of target and item that wait for their exact scores: one call for many.
MOST_WAITING = 2**14


class ScoreComparison:
    """Counts the items that score at least as high as targets, without error.

    Outside the margin the product decides, within it the exact scores do.

    Args:
        inputs: RankingInputs.
        query_ids: int array `[Q]`, those of the products' rows.
        targets: int array `[T]`, T <= Q: one item for each of the first rows.
        margins: float64 array `[Q]`; see `Catalogue.precision`.
        dtype: dtype of the products.

    `above`, int64 `[T]`, is the count, whole after `finish`; the target is not in it.
    """

    def __init__(self, inputs, query_ids, targets, margins, dtype):
        self.inputs, self.query_ids, self.targets = inputs, query_ids[: len(targets)], targets
        self.exact = exact_scores(inputs.queries, self.query_ids, inputs.item_table, targets)
        self.above = np.zeros(len(targets), np.int64)
        self.waiting = []
        margins = margins[: len(targets)]
        self.lowest = (self.exact - margins).astype(dtype)[:, np.newaxis]
        self.highest = (self.exact + margins).astype(dtype)[:, np.newaxis]

    def count(self, product, start, stop, block, at_least, above):
        """Adds the items of one block of a `Catalogue`, given its products `[Q, I]`.

        `at_least` and `above` are buffers of bool, for at least as many flags.
        """
        product = product[: len(self.targets)]
        at_least = np.greater_equal(product, self.lowest, out=as_matrix(at_least, product.shape))
        above = np.greater(product, self.highest, out=as_matrix(above, product.shape))
        surely = count_rows(above)
        self.above += surely
        own = (start <= self.targets) & (self.targets < stop)  # always close
        rows = np.flatnonzero(count_rows(at_least) - surely > own)
        if len(rows):
            self._count_close(rows, at_least[rows] != above[rows], start, block)

    def _count_close(self, rows, close, start, block):
        """Notes what the products cannot decide."""
        # Flat: many times as fast as in two dimensions.
        places, columns = np.divmod(np.flatnonzero(close), close.shape[1])
        items = start + columns if isinstance(block, slice) else block[columns]
        self.waiting.append((rows[places], items))
        if sum(len(items) for _, items in self.waiting) > MOST_WAITING:
            self.finish()

    def finish(self):
        """Decides by exact scores what the products could not."""
        if not self.waiting:
            return
        rows, items = (np.concatenate(parts) for parts in zip(*self.waiting))
        self.waiting.clear()
        others = items != self.targets[rows]
        rows, items = rows[others], items[others]
        exact = exact_scores(
            self.inputs.queries, self.query_ids[rows], self.inputs.item_table, items
        )
        self.above += np.bincount(rows[exact >= self.exact[rows]], minlength=len(self.above))

    def known_above(self, owners, items, scores):
        """How many known items other than the target were counted, per pair."""
        offsets = np.searchsorted(owners, np.arange(len(self.targets) + 1))
        counts = np.empty(len(self.targets), np.int64)
        for row, target in enumerate(self.targets):
            known = slice(offsets[row], offsets[row + 1])
            above = (scores[known] >= self.exact[row]) & (items[known] != target)
            counts[row] = np.count_nonzero(above)
        return counts


def count_rows(flags):
    """How many of each row's flags `[Q, I]` are set."""
    if flags.shape[1] % PACKED:
        return np.bitwise_count(np.packbits(flags, axis=1)).sum(axis=1, dtype=np.int64)
    # Twice as fast: words are added, and no byte of a sum overflows.
    words = flags.view(np.uint64).reshape(len(flags), -1, PACKED // 8).sum(axis=2)
    return words.view(np.uint8).sum(axis=1, dtype=np.int64)


def as_matrix(buffer, shape):
    """The first elements of a flat buffer as a matrix."""
    return buffer[: shape[0] * shape[1]].reshape(shape)
