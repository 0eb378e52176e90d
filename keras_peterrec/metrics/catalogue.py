"""The ranked items in blocks that stay in the processor's cache."""

import numpy as np

from keras_peterrec.metrics.ranking_inputs import row_blocks


class Catalogue:
    """The items that are scored by matrix products, in blocks, and how exactly.

    Args:
        inputs: RankingInputs.
        item_chunk: int. Most items of a block.
    """

    def __init__(self, inputs, item_chunk):
        candidates = inputs.rankable & inputs.finite_items
        # A score that is NaN counts as above.
        self.always_above = int(np.count_nonzero(inputs.rankable & ~candidates))
        self.blocks = []
        for start in range(0, inputs.size, item_chunk):
            kept = candidates[start : start + item_chunk]
            # A whole block is read where it stands, without a copy.
            stop = start + len(kept)
            block = slice(start, stop) if kept.all() else start + np.flatnonzero(kept)
            if kept.any():
                self.blocks.append((start, stop, block))
        self.widest = max((stop - start for start, stop, _ in self.blocks), default=0)
        self.largest_norm = 0.0
        for rows in row_blocks(inputs.item_table):
            finite = inputs.finite_items[rows]
            block = inputs.item_table[rows]
            norms = _norms(block if finite.all() else block[finite])
            self.largest_norm = max(self.largest_norm, norms.max(initial=0.0))

    def precision(self, queries):
        """What type to multiply in, and how far a product may be from the exact score.

        `|fl(q . v) - q . v| <= C u |q| |v|` to first order, whatever the order of
        summation, with u = 2^-24 (Higham, "Accuracy and Stability of Numerical
        Algorithms", section 3.1).

        Args:
            queries: float32 array `[Q, C]`.

        Returns:
            `(dtype, margins)`, the latter float64 `[Q]`.
        """
        scale = _norms(queries) * self.largest_norm
        # Near float32's largest number a product could overflow to inf - inf.
        dtype = np.float64 if scale.max() > 1e37 else np.float32
        channels = queries.shape[1]
        underflow = channels * np.finfo(np.float32).tiny
        # 4 and 1.01: the thresholds' own rounding and the terms of higher order.
        return dtype, 1.01 * (channels + 4) * 2.0**-24 * scale + underflow


def _norms(table):
    """Euclidean length of each row, in float64 and without a copy of the table."""
    return np.sqrt(np.einsum("rc,rc->r", table, table, dtype=np.float64))
