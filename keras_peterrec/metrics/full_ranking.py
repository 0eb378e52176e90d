"""The rank of each target among all items.

How it works: a job is a chunk of queries, and a thread takes one job after the other.
It multiplies the queries with one block of items at a time (`ItemBlocks`), and
`ScoreComparison` counts the items above the targets, by exact scores where the product
is too close to tell.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import check_count
from keras_peterrec.matrix_threads import one_thread
from keras_peterrec.metrics.ranking import RankingInputs, exact_scores, row_blocks
from keras_peterrec.progress import each

MOST_THREADS = 16  # each holds buffers of its own
# Flags in one packed sum: eight counters in a word, each at most 128.
PACKED = 8 * 128
# Pairs of a target and an item that wait for their exact scores, for one call instead of many.
MOST_WAITING = 2**14
# Added scores that a job holds: 64 MB.
MOST_ADDED = 2**24


def full_ranks(
    queries: ArrayLike,
    item_table: ArrayLike,
    pair_query: ArrayLike,
    pair_item: ArrayLike,
    known_offsets: ArrayLike,
    known_items: ArrayLike,
    excluded_items: Iterable[int] = (),
    query_chunk: int = 128,
    item_chunk: int = 8192,
    added: Callable | None = None,
) -> np.ndarray:
    """Ranks each pair's target among all items except the user's other known ones.

    With the scores `s(i) = queries[pair_query] . item_table[i]` and the target t,

        rank = 1 + #{i : i != t, i not removed, s(i) >= s(t)}

    so a tie counts against the model. Removed are the known items of the query
    (never the pair's own target) and `excluded_items`. A NaN never helps: a target
    with a NaN score gets rank V, and any other item with one counts as ranked above.
    A vector with a NaN or infinite element has NaN for all its scores.

    The matrix of users by items is never held. A chunk of it comes from a float32
    product; items within that product's rounding error of the target's score
    are scored again in float64, in one fixed order. So the ranks depend neither
    on the chunks nor on the linear algebra library, equal vectors always tie, and
    rounding can never put the target above or below itself. To give scores a bias,
    add it as one more column (with ones in `queries`).

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
        query_chunk: int. The most queries that a thread scores at once. Defaults to
            `128`.
        item_chunk: int. How many items it scores at once. The default gives 4 MB of
            scores, which stay in the processor's cache. Defaults to `8192`.
        added: Callable or `None`. From an int array of queries `[Q]` to finite float32 scores
            `[Q, V]` that are added to the products, such as those of a linear part. What it says
            of a query should not depend on the others. Defaults to `None`.

    Returns:
        int64 array `[P]` of ranks, from 1 to V.

    Raises:
        InputError: if a shape, an id or a chunk is not as above.

    Example:

    >>> full_ranks([[1.0]], [[3.0], [2.0], [1.0]], [0], [1], [0, 0], [])
    array([2])
    >>> full_ranks([[1.0]], [[3.0], [2.0], [1.0]], [0], [1], [0, 2], [0, 1])
    array([1])

    Source: Krichene and Rendle, "On Sampled Metrics for Item Recommendation",
    KDD 2020, on why to rank all items and not a sample.
    """
    check_count("query_chunk", query_chunk)
    check_count("item_chunk", item_chunk)
    inputs = RankingInputs(
        queries, item_table, pair_query, pair_item, known_offsets, known_items, excluded_items
    )
    ranks = np.full(len(inputs.pair_item), inputs.size, np.int64)
    blocks = ItemBlocks(inputs, item_chunk)
    pairs = np.flatnonzero(inputs.scorable())

    def rank(job):
        query_ids, layers = job
        for layer, found in zip(layers, _job_ranks(inputs, blocks, query_ids, layers, added)):
            ranks[layer] = found

    if added is not None:  # a job holds all scores that are added to its queries'
        query_chunk = min(query_chunk, max(1, MOST_ADDED // inputs.size))
    thread_map(rank, _jobs(pairs, inputs.pair_query[pairs], query_chunk), "ranking")
    return ranks


def _jobs(pairs, pair_query, query_chunk):
    """Cuts pairs into jobs `(query_ids, layers)` of at most `query_chunk` queries.

    Layer k holds the k-th pair of the first queries of a job. The queries are sorted by
    falling number of pairs, so a layer's scores are the first rows of the job's product.
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


def _job_ranks(inputs, blocks, query_ids, layers, added):
    """Returns the ranks of the pairs of a job, a list with one array for each layer."""
    extra = None if added is None else added(query_ids)
    dtype, margins = blocks.precision(inputs.queries[query_ids], extra)
    queries = inputs.queries[query_ids].astype(dtype, copy=False)
    comparisons = [
        ScoreComparison(inputs, query_ids, inputs.pair_item[pairs], margins, dtype, extra)
        for pairs in layers
    ]
    # One buffer for all blocks: fresh memory would cost more than the comparisons.
    size = len(query_ids) * blocks.widest
    scores, at_least, above = np.empty(size, dtype), np.empty(size, bool), np.empty(size, bool)
    for start, stop, block in blocks.blocks:
        items = inputs.item_table[block].astype(dtype, copy=False)
        product = _as_matrix(scores, (len(queries), len(items)))
        np.matmul(queries, items.T, out=product)
        if extra is not None:
            product += extra[:, block]
        for comparison in comparisons:
            comparison.count(product, start, stop, block, at_least, above)
    for comparison in comparisons:
        comparison.finish()
    known = _known_scores(inputs, query_ids, extra)
    always = 1 + blocks.always_above
    return [always + each.above - each.known_above(*known) for each in comparisons]


def _known_scores(inputs, query_ids, extra):
    """Returns the known items of queries: owners (rising), items and exact scores."""
    owners, items = inputs.known_of(query_ids)
    scores = np.full(len(items), np.inf)
    finite = inputs.finite_items[items]
    scores[finite] = exact_scores(
        inputs.queries, query_ids[owners[finite]], inputs.item_table, items[finite]
    )
    if extra is not None:
        scores[finite] += extra[owners[finite], items[finite]]
    return owners, items, scores


class ItemBlocks:
    """The items to score by matrix products, cut into blocks that fit the cache.

    Args:
        item_chunk: int. The most items of a block.
    """

    def __init__(self, inputs: RankingInputs, item_chunk: int):
        candidates = inputs.rankable & inputs.finite_items
        # An item with a NaN score counts as above.
        self.always_above = int(np.count_nonzero(inputs.rankable & ~candidates))
        self.blocks = []
        for start in range(0, inputs.size, item_chunk):
            kept = candidates[start : start + item_chunk]
            # A whole block is a slice, which is read without a copy.
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

    def precision(self, queries, extra=None):
        """Returns which type to multiply in, and how far a product may be from the exact score.

        `|fl(q . v) - q . v| <= C u |q| |v|` to first order, whatever the order of
        summation, with u = 2^-24 (Higham, "Accuracy and Stability of Numerical
        Algorithms", section 3.1).

        Args:
            queries: float32 array `[Q, C]`.
            extra: float32 array `[Q, V]`, added to the products, or `None`.

        Returns:
            `(dtype, margins)`, the latter float64 `[Q]`.
        """
        scale = _norms(queries) * self.largest_norm
        if extra is not None:
            scale = scale + np.abs(extra).max(axis=1, initial=0.0)  # one more rounded sum
        # Near float32's largest number a product could overflow to inf - inf.
        dtype = np.float64 if scale.max() > 1e37 else np.float32
        channels = queries.shape[1]
        underflow = channels * np.finfo(np.float32).tiny
        # 4 and 1.01 allow for the thresholds' own rounding and terms of higher order.
        return dtype, 1.01 * (channels + 4) * 2.0**-24 * scale + underflow


def _norms(table):
    """Returns the Euclidean length of each row, in float64 without a copy of the table."""
    return np.sqrt(np.einsum("rc,rc->r", table, table, dtype=np.float64))


class ScoreComparison:
    """Counts the items that score at least as high as targets, without rounding errors.

    Where a product differs from the target's score by more than the margin it decides;
    otherwise the exact scores do.

    Args:
        query_ids: int array `[Q]`, those of the products' rows.
        targets: int array `[T]`, T <= Q: one item for each of the first rows.
        margins: float64 array `[Q]`; see `ItemBlocks.precision`.
        dtype: dtype of the products.
        extra: float32 array `[Q, V]`, added to the products, or `None`.

    Attributes:
        above: int64 `[T]`, the count without the target itself, complete after `finish`.
    """

    def __init__(self, inputs: RankingInputs, query_ids, targets, margins, dtype, extra=None):
        self.inputs, self.query_ids, self.targets = inputs, query_ids[: len(targets)], targets
        self.extra = extra
        self.exact = self._exact_scores(np.arange(len(targets)), targets)
        self.above = np.zeros(len(targets), np.int64)
        self.waiting = []
        margins = margins[: len(targets)]
        self.lowest = (self.exact - margins).astype(dtype)[:, np.newaxis]
        self.highest = (self.exact + margins).astype(dtype)[:, np.newaxis]

    def count(self, product, start, stop, block, at_least, above):
        """Adds the items of one block of `ItemBlocks`, given its products `[Q, I]`.

        `at_least` and `above` are buffers of bool, large enough for as many flags.
        """
        product = product[: len(self.targets)]
        at_least = np.greater_equal(product, self.lowest, out=_as_matrix(at_least, product.shape))
        above = np.greater(product, self.highest, out=_as_matrix(above, product.shape))
        surely = _count_rows(above)
        self.above += surely
        own = (start <= self.targets) & (self.targets < stop)  # always close
        rows = np.flatnonzero(_count_rows(at_least) - surely > own)
        if len(rows):
            self._remember_close(rows, at_least[rows] != above[rows], start, block)

    def _remember_close(self, rows, close, start, block):
        """Keeps the items that the products cannot decide about."""
        # Searched flat, which is many times as fast as in two dimensions.
        places, columns = np.divmod(np.flatnonzero(close), close.shape[1])
        items = start + columns if isinstance(block, slice) else block[columns]
        self.waiting.append((rows[places], items))
        if sum(len(items) for _, items in self.waiting) > MOST_WAITING:
            self.finish()

    def finish(self):
        """Decides by exact scores about the items that the products could not decide."""
        if not self.waiting:
            return
        rows, items = (np.concatenate(parts) for parts in zip(*self.waiting))
        self.waiting.clear()
        others = items != self.targets[rows]
        rows, items = rows[others], items[others]
        exact = self._exact_scores(rows, items)
        self.above += np.bincount(rows[exact >= self.exact[rows]], minlength=len(self.above))

    def _exact_scores(self, rows, items):
        queries, table = self.inputs.queries, self.inputs.item_table
        scores = exact_scores(queries, self.query_ids[rows], table, items)
        return scores if self.extra is None else scores + self.extra[rows, items]

    def known_above(self, owners, items, scores) -> np.ndarray:
        """Returns how many known items other than the target were counted, `[T]`."""
        end = np.searchsorted(owners, len(self.targets))
        owners, items, scores = owners[:end], items[:end], scores[:end]
        above = (scores >= self.exact[owners]) & (items != self.targets[owners])
        return np.bincount(owners[above], minlength=len(self.targets))


def _count_rows(flags):
    """Returns how many of each row's flags `[Q, I]` are set."""
    if flags.shape[1] % PACKED:
        return np.bitwise_count(np.packbits(flags, axis=1)).sum(axis=1, dtype=np.int64)
    # Twice as fast: whole words are added, and no byte of a sum overflows.
    words = flags.view(np.uint64).reshape(len(flags), -1, PACKED // 8).sum(axis=2)
    return words.view(np.uint8).sum(axis=1, dtype=np.int64)


def _as_matrix(buffer, shape):
    """Returns the first elements of a flat buffer as a matrix."""
    return buffer[: shape[0] * shape[1]].reshape(shape)


def thread_count() -> int:
    """Returns how many processors this process may use, at most `MOST_THREADS`."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(MOST_THREADS, len(affinity(0)) if affinity else os.cpu_count() or 1)


def thread_map(function: Callable, jobs: list, what: str) -> None:
    """Calls a function with each job, several at a time.

    NumPy releases the interpreter inside its loops. A matrix product is limited to one
    processor meanwhile; otherwise its library's threads and ours would wait for each other.

    Args:
        function: Callable with one job; its result is ignored.
        what: str. What progress says is done, if a stage waits for it.
    """
    count = min(thread_count(), len(jobs))
    if count <= 1:
        for job in each(jobs, what):
            function(job)
        return
    with one_thread(), ThreadPoolExecutor(count) as pool:
        for _ in each(pool.map(function, jobs), what, total=len(jobs)):
            pass
