"""The rank of each target among the whole catalogue, chunk by chunk."""

import numpy as np

from keras_peterrec.metrics.ranking_inputs import RankingInputs, check_count, exact_scores


def full_ranks(
    queries, item_table, pair_query, pair_item, known_offsets, known_items,
    excluded_items=(), query_chunk=256, item_chunk=65536,
):  # fmt: skip
    """Ranks each pair's target among all items but the user's other known ones.

    With the scores `s(i) = queries[pair_query] . item_table[i]` and the target t,

        rank = 1 + #{i : i != t, i not removed, s(i) >= s(t)}

    so a tie counts against the model. Removed are the known items of the query
    (never the pair's own target) and `excluded_items`. A NaN never helps: with a
    NaN score the target gets rank V, and any other item counts as ranked above.
    A vector with a NaN or infinite element has NaN for its scores.

    The users x items matrix is never held. A chunk of it comes from a float32
    product; what lies within that product's rounding error of the target's score
    is scored again in float64, in one fixed order. So the ranks depend neither
    on the chunks nor on the linear algebra library, equal vectors always tie, and
    rounding can never put the target above or below itself. A score's bias can
    be given as one more column (ones in `queries`).

    Args:
        queries: float array `[N, C]`. Read as float32.
        item_table: float array `[V, C]`. Read as float32.
        pair_query: int array `[P]` in `[0, N)`.
        pair_item: int array `[P]` in `[-1, V)`. The target; -1 means that it is
            not in the table, which gives rank V: a miss at every k < V.
        known_offsets: int array `[N + 1]`. The known items of query n are
            `known_items[known_offsets[n]:known_offsets[n + 1]]`.
        known_items: int array, each in `[-1, V)`; repeats and -1 do no harm.
        excluded_items: ids that never count, such as special tokens. A target
            among them gets rank V. Defaults to `()`.
        query_chunk: int. Pairs ranked at once. Defaults to `256`.
        item_chunk: int. Items scored at once (64 MB of scores by
            default). Defaults to `65536`.

    Returns:
        int64 array `[P]` of ranks, from 1 to V.

    Raises:
        InputError: where a shape, an id or a chunk is not as above.

    Example:

    >>> full_ranks([[1.0]], [[3.0], [2.0], [1.0]], [0], [1], [0, 0], [])
    array([2])
    >>> full_ranks([[1.0]], [[3.0], [2.0], [1.0]], [0], [1], [0, 2], [0, 1])
    array([1])

    Source: Krichene and Rendle, "On Sampled Metrics for Item Recommendation",
    KDD 2020, on why the full ranking and not a sampled one.
    """
    check_count("query_chunk", query_chunk)
    check_count("item_chunk", item_chunk)
    inputs = RankingInputs(
        queries, item_table, pair_query, pair_item, known_offsets, known_items, excluded_items
    )
    ranks = np.full(len(inputs.pair_item), inputs.size, np.int64)
    pairs = np.flatnonzero(inputs.scorable())
    # Sorted by query, so that pairs of one query share a row of the product.
    pairs = pairs[np.argsort(inputs.pair_query[pairs], kind="stable")]
    largest_item = _norms(inputs.item_table[inputs.finite_items]).max(initial=0.0)
    for start in range(0, len(pairs), query_chunk):
        chunk = pairs[start : start + query_chunk]
        ranks[chunk] = _chunk_ranks(inputs, chunk, item_chunk, largest_item)
    return ranks


def _chunk_ranks(inputs, pairs, item_chunk, largest_item):
    """Ranks `[len(pairs)]` of some scorable pairs."""
    targets = inputs.pair_item[pairs]
    query_ids, rows = np.unique(inputs.pair_query[pairs], return_inverse=True)
    target_scores = exact_scores(inputs.queries, query_ids[rows], inputs.item_table, targets)
    products = _Products(inputs.queries, query_ids, largest_item)
    candidates = np.flatnonzero(inputs.rankable & inputs.finite_items)
    always_above = np.count_nonzero(inputs.rankable) - len(candidates)
    above = np.full(len(pairs), always_above, np.int64)
    for start in range(0, len(candidates), item_chunk):
        items = candidates[start : start + item_chunk]
        above += products.count_above(inputs.item_table, items, rows, targets, target_scores)
    return 1 + above - _count_known_above(inputs, query_ids, rows, targets, target_scores)


def _norms(table):
    """Euclidean length of each row, in float64 and without a copy of the table."""
    return np.sqrt(np.einsum("rc,rc->r", table, table, dtype=np.float64))


class _Products:
    """Compares float32 products with the targets' exact scores, without error.

    `|fl(q . v) - q . v| <= C u |q| |v|` to first order, whatever the order of
    summation, with u = 2^-24 (Higham, "Accuracy and Stability of Numerical
    Algorithms", section 3.1). Outside that margin the product decides.
    """

    def __init__(self, queries, query_ids, largest_item):
        self.queries, self.query_ids = queries, query_ids
        scale = _norms(queries[query_ids]) * largest_item
        # Near float32's largest number a product could overflow to inf - inf.
        self.dtype = np.float64 if scale.max() > 1e37 else np.float32
        channels = queries.shape[1]
        underflow = channels * np.finfo(np.float32).tiny
        # 4 and 1.01: the thresholds' own rounding and the terms of higher order.
        self.margins = 1.01 * (channels + 4) * 2.0**-24 * scale + underflow

    def count_above(self, item_table, items, rows, targets, target_scores):
        """Per pair, how many of `items` but the target score at least as high."""
        chunk_queries = self.queries[self.query_ids].astype(self.dtype, copy=False)
        scores = chunk_queries @ item_table[items].astype(self.dtype, copy=False).T
        margins = self.margins[rows]
        lowest = (target_scores - margins).astype(self.dtype)
        highest = (target_scores + margins).astype(self.dtype)
        # `items` rise and hold every target between their ends; one is always close.
        own = (items[0] <= targets) & (targets <= items[-1])
        above = np.empty(len(rows), np.int64)
        # Row by row: a row stays in the processor's cache, and no second matrix
        # is made for the comparisons.
        for pair, row in enumerate(rows):
            line = scores[row]
            not_above, below = line <= highest[pair], line < lowest[pair]
            count = np.count_nonzero(not_above)
            above[pair] = len(items) - count
            if count > np.count_nonzero(below) + own[pair]:
                close = items[np.flatnonzero(not_above != below)]
                close = close[close != targets[pair]]
                exact = exact_scores(self.queries, self.query_ids[row], item_table, close)
                above[pair] += np.count_nonzero(exact >= target_scores[pair])
        return above


def _count_known_above(inputs, query_ids, rows, targets, target_scores):
    """Per pair, how many known items other than the target were counted above."""
    owners, items = inputs.known_of(query_ids)
    scores = np.full(len(items), np.inf)
    finite = inputs.finite_items[items]
    scores[finite] = exact_scores(
        inputs.queries, query_ids[owners[finite]], inputs.item_table, items[finite]
    )
    offsets = np.searchsorted(owners, np.arange(len(query_ids) + 1))
    counts = np.empty(len(rows), np.int64)
    for pair, row in enumerate(rows):
        known = slice(offsets[row], offsets[row + 1])
        above = (scores[known] >= target_scores[pair]) & (items[known] != targets[pair])
        counts[pair] = np.count_nonzero(above)
    return counts
