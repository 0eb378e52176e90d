"""The rank of each target among the whole catalogue, chunk by chunk."""

import numpy as np

from keras_peterrec.metrics.catalogue import Catalogue
from keras_peterrec.metrics.ranking_inputs import RankingInputs, check_count, exact_scores
from keras_peterrec.metrics.score_comparison import ScoreComparison, as_matrix
from keras_peterrec.metrics.threads import thread_count, thread_map


def full_ranks(
    queries,
    item_table,
    pair_query,
    pair_item,
    known_offsets,
    known_items,
    excluded_items=(),
    query_chunk=128,
    item_chunk=8192,
):
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
        query_chunk: int. Most queries that a thread scores at once. Defaults to `128`.
        item_chunk: int. Items that it scores at once: 4 MB of scores by default,
            which stay in the processor's cache. Defaults to `8192`.

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
    catalogue = Catalogue(inputs, item_chunk)
    pairs = np.flatnonzero(inputs.scorable())

    def rank(job):
        query_ids, layers = job
        for layer, found in zip(layers, _chunk_ranks(inputs, catalogue, query_ids, layers)):
            ranks[layer] = found

    thread_map(rank, _jobs(pairs, inputs.pair_query[pairs], query_chunk))
    return ranks


def _jobs(pairs, pair_query, query_chunk):
    """Cuts pairs into jobs `(query_ids, layers)` of at most `query_chunk` queries.

    Layer k holds the k-th pair of the first queries of a job. Queries come by falling
    number of pairs, so a layer's scores are the first rows of the job's product.
    """
    pairs = pairs[np.argsort(pair_query, kind="stable")]
    query_ids, first, counts = np.unique(np.sort(pair_query), return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    size = min(query_chunk, max(1, -(-len(order) // thread_count())))
    jobs = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        layers = []
        for place in range(counts[rows[0]]):
            layers.append(pairs[first[rows[counts[rows] > place]] + place])
        jobs.append((query_ids[rows], layers))
    return jobs


def _chunk_ranks(inputs, catalogue, query_ids, layers):
    """Ranks of the pairs of a job, as a list with an array for each layer."""
    dtype, margins = catalogue.precision(inputs.queries[query_ids])
    queries = inputs.queries[query_ids].astype(dtype, copy=False)
    comparisons = [
        ScoreComparison(inputs, query_ids, inputs.pair_item[pairs], margins, dtype)
        for pairs in layers
    ]
    # One buffer for all blocks: fresh pages would cost more than the comparisons.
    size = len(query_ids) * catalogue.widest
    scores, at_least, above = np.empty(size, dtype), np.empty(size, bool), np.empty(size, bool)
    for start, stop, block in catalogue.blocks:
        items = inputs.item_table[block].astype(dtype, copy=False)
        product = as_matrix(scores, (len(queries), len(items)))
        np.matmul(queries, items.T, out=product)
        for comparison in comparisons:
            comparison.count(product, start, stop, block, at_least, above)
    for comparison in comparisons:
        comparison.finish()
    known = _known_scores(inputs, query_ids)
    always = 1 + catalogue.always_above
    return [always + each.above - each.known_above(*known) for each in comparisons]


def _known_scores(inputs, query_ids):
    """Known items of queries: owners (rising), items and exact scores."""
    owners, items = inputs.known_of(query_ids)
    scores = np.full(len(items), np.inf)
    finite = inputs.finite_items[items]
    scores[finite] = exact_scores(
        inputs.queries, query_ids[owners[finite]], inputs.item_table, items[finite]
    )
    return owners, items, scores
