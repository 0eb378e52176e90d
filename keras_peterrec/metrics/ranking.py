"""HR, MRR and NDCG from ranks, and what full and sampled ranking have in common."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.integers import distinct_pairs, slices
from keras_peterrec.metrics.checked_arrays import csr_lists, float_table, integer_array

# How many numbers are gathered at once: 8 MB of float64.
GATHERED_VALUES = 2**20
# The rank of a target that is never answered. No k reaches it, however few items there are.
MISSED = 2**31 - 1


def whole_gains(ranks: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """What each user gains by NDCG without a cutoff, `1 / log2(r + 1)`, such that the mean over
    users is that over ranks.

    Of a few users, a cutoff leaves only those to tell two models apart who are near it.

    Args:
        ranks: int array `[P]`, from 1.
        owners: int array `[P]`, the user of each rank, numbered from 0.

    Returns:
        float array `[U]`.
    """
    sums = np.bincount(owners, 1.0 / np.log2(1.0 + ranks))
    return sums * (len(sums) / len(ranks))


def ranking_metrics(
    ranks: ArrayLike,
    ks: Sequence[int] = (5, 10, 20),
    prefix: str = "",
    lists: np.ndarray | None = None,
) -> dict[str, float]:
    """Computes the means of HR@k, MRR@k and NDCG@k over lists, each with one relevant item or more.

    With the ranks r of the n relevant items of a list, all different:

        HR@k = [min r <= k]    MRR@k = [min r <= k] / min r
        NDCG@k = sum of [r <= k] / log2(r + 1)  /  sum of 1 / log2(i + 1) for i = 1, ..., min(n, k)

    Args:
        ranks: int array `[P]`, from 1, as `full_ranks` returns them.
        ks: positive integers, the cutoffs. Defaults to `(5, 10, 20)`.
        prefix: str. Put before each key, `"sampled_"` for instance.
            Defaults to `""`.
        lists: int array `[P]` of 0, 0, 1, ..., or `None`. The list of each rank, none skipped.
            Where relevant items tie, they share the last places of the tie. Defaults to `None`,
            a list for each rank.

    Returns:
        A dict of floats: `"hr@5"`, `"mrr@5"`, `"ndcg@5"`, `"hr@10"`, ...

    Raises:
        InputError: if `ranks` is empty or not integers from 1, if `ks` is
            empty, or if one of its cutoffs is not a positive integer.

    Example:

    >>> ranking_metrics([1, 3, 9], ks=[5])["hr@5"]
    0.6666666666666666

    Source: Yuan et al., "Parameter-Efficient Transfer from Sequential Behaviors
    for User Modeling and Recommendation", SIGIR 2020, section 4.
    """
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or ranks.size == 0 or ranks.dtype.kind not in "iu" or ranks.min() < 1:
        received = f"shape {ranks.shape} and dtype {ranks.dtype}"
        if ranks.size and ranks.dtype.kind in "iuf":
            received += f", smallest {ranks.min()}"
        raise InputError(
            "`ranks` should be a one-dimensional array of at least one positive "
            f"integer. Received: {received}."
        )
    ks = list(ks) if np.iterable(ks) else [ks]
    if not ks:
        raise InputError("`ks` should hold at least one cutoff. Received: `ks` = [].")
    gains = ranking_gains(ranks, ks, prefix, lists)
    return {name: float(np.mean(part)) for name, part in gains.items()}


def ranking_gains(
    ranks: np.ndarray,
    ks: Sequence[int] = (5, 10, 20),
    prefix: str = "",
    lists: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """What each list adds to the means of `ranking_metrics`, `{name: float array [lists]}`."""
    if lists is None or len(lists) == lists[-1] + 1:
        first, counts = ranks, None
    else:
        ranks, lists = _places(ranks, lists)
        counts = np.bincount(lists)
        first = ranks[np.cumsum(counts) - counts]
    gains = {}
    for k in ks:
        check_count("k", k)
        hits = first <= k
        gains[f"{prefix}hr@{k}"] = hits.astype("float64")
        gains[f"{prefix}mrr@{k}"] = hits / first
        dcg = (ranks <= k) / np.log2(ranks + 1.0)
        if counts is not None:
            ideal = np.cumsum(1.0 / np.log2(np.arange(2.0, k + 2.0)))
            dcg = np.bincount(lists, dcg) / ideal[np.minimum(counts, k) - 1]
        gains[f"{prefix}ndcg@{k}"] = dcg
    return gains


def _places(ranks, lists):
    """The places of each list's relevant items, rising, and their lists.

    Items of one score have one rank, the last place of their tie; those of a list stand there one
    before the other.
    """
    order = np.lexsort((ranks, lists))
    ranks, lists = ranks[order], lists[order]
    ends = np.append((np.diff(ranks) != 0) | (np.diff(lists) != 0), True)
    last = np.flatnonzero(ends)[np.cumsum(ends) - ends]  # the last of those that tie with each
    before = last - np.arange(len(ranks))
    return np.where(ranks == MISSED, MISSED, ranks - before), lists


class RankingInputs:
    """The checked inputs of `full_ranks` and `sampled_ranks`.

    All scores of a vector that has a NaN or infinite element, as a diverged model
    gives, count as NaN.

    Args:
        queries: float array `[N, C]`.
        item_table: float array `[V, C]`.
        pair_query: int array `[P]` in `[0, N)`.
        pair_item: int array `[P]` in `[-1, V)`; -1 means "not in the table".
        known_offsets: int array `[N + 1]`, CSR offsets of the known items.
        known_items: int array, each in `[-1, V)`; -1 is left out.
        excluded_items: ids in `[0, V)` that are never ranked.

    Raises:
        InputError: if a shape, a type or an id is not as above.
    """

    def __init__(
        self,
        queries: ArrayLike,
        item_table: ArrayLike,
        pair_query: ArrayLike,
        pair_item: ArrayLike,
        known_offsets: ArrayLike,
        known_items: ArrayLike,
        excluded_items: Iterable[int] = (),
    ):
        self.queries = float_table("queries", queries)
        self.item_table = float_table("item_table", item_table)
        self.size = len(self.item_table)
        if self.queries.shape[1] != self.item_table.shape[1]:
            raise InputError(
                "`queries` and `item_table` should have the same number of columns. "
                f"Received: {self.queries.shape} and {self.item_table.shape}."
            )
        self.pair_query = integer_array("pair_query", pair_query, 0, len(self.queries))
        self.pair_item = integer_array("pair_item", pair_item, -1, self.size)
        if len(self.pair_query) != len(self.pair_item):
            raise InputError(
                "`pair_query` and `pair_item` should have the same length. Received: "
                f"{len(self.pair_query)} and {len(self.pair_item)}."
            )
        self.known_offsets, self.known_items = csr_lists(
            ("known_offsets", "known_items"),
            known_offsets,
            known_items,
            len(self.queries),
            self.size,
        )
        excluded = integer_array("excluded_items", list(excluded_items), 0, self.size)
        self.rankable = np.ones(self.size, bool)
        self.rankable[excluded] = False
        self.finite_items = _finite_rows(self.item_table)

    def scorable(self) -> np.ndarray:
        """Returns bool `[P]`: False where the target is -1, excluded or has a NaN score."""
        # The appended element is what the id -1 reads.
        targets_rank = np.append(self.finite_items & self.rankable, False)
        finite_queries = _finite_rows(self.queries)
        return targets_rank[self.pair_item] & finite_queries[self.pair_query]

    def known_of(self, query_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the known, rankable items of each query, sorted and without repeats.

        Args:
            query_ids: int array `[Q]`.

        Returns:
            `(owners, items)`: int64 arrays; `owners` are positions in
            `query_ids`, rising, and `items` rise within an owner.
        """
        starts = self.known_offsets[query_ids]
        lengths = self.known_offsets[query_ids + 1] - starts
        owners, places = slices(starts, lengths)
        items = self.known_items[places]
        kept = np.append(self.rankable, False)[items]
        return distinct_pairs(owners[kept], items[kept], self.size)


def among_known(
    pair_query: ArrayLike, pair_item: ArrayLike, known_offsets: np.ndarray, known_items: ArrayLike
) -> np.ndarray:
    """Returns whether each pair's item is among the known items of its query, bool `[P]`.

    Where a server leaves known items out of its answers, such a target is `MISSED`.

    Args:
        pair_query, pair_item, known_offsets, known_items: see `full_ranks`.
    """
    removed, items = np.asarray(known_items, np.int64), np.asarray(pair_item, np.int64)
    size = 1 + max(np.max(items, initial=0), np.max(removed, initial=0))
    owners = np.repeat(np.arange(len(known_offsets) - 1), np.diff(known_offsets))
    pairs = np.where(items < 0, -1, np.asarray(pair_query, np.int64) * size + items)
    return np.isin(pairs, (owners * size + removed)[removed >= 0])


def exact_scores(
    queries: np.ndarray,
    query_ids: np.ndarray | int,
    item_table: np.ndarray,
    item_ids: np.ndarray,
) -> np.ndarray:
    """Returns the score of each pair of a query and an item, `s = sum_c q_c * v_c`.

    A float32 matrix product may round the same dot product differently at
    different places of the matrix, so two equal items can get unequal scores
    there. Here the product of two float32 numbers is exact in float64, and the sum
    always runs in the same order: equal vectors get equal scores, however the work
    is cut into chunks.

    Args:
        queries: float32 array `[N, C]`.
        query_ids: int array `[M]`, or one int for all pairs.
        item_table: float32 array `[V, C]`.
        item_ids: int array `[M]`.

    Returns:
        float64 array `[M]`.
    """
    query_ids = np.broadcast_to(query_ids, item_ids.shape)
    scores = np.empty(len(item_ids), np.float64)
    for rows in row_blocks(item_table, len(item_ids)):
        products = np.multiply(
            queries[query_ids[rows]], item_table[item_ids[rows]], dtype=np.float64
        )
        scores[rows] = products.sum(axis=1)
    return scores


def row_blocks(table: np.ndarray, rows: int | None = None) -> list[slice]:
    """Returns slices that cover `rows` rows of the table's width, a few MB each."""
    rows = len(table) if rows is None else rows
    size = max(1, GATHERED_VALUES // table.shape[1])
    return [slice(start, start + size) for start in range(0, rows, size)]


def _finite_rows(table):
    """Returns bool `[R]`: whether all numbers of a row are finite."""
    finite = np.empty(len(table), bool)
    for rows in row_blocks(table):
        finite[rows] = np.isfinite(table[rows]).all(axis=1)
    return finite
