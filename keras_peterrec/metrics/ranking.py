"""HR, MRR and NDCG from ranks, and what full and sampled ranking have in common."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.metrics.checked_arrays import csr_lists, float_table, integer_array

# How many numbers are gathered at once: 8 MB of float64.
GATHERED_VALUES = 2**20


def ranking_metrics(
    ranks: ArrayLike, ks: Sequence[int] = (5, 10, 20), prefix: str = ""
) -> dict[str, float]:
    """Computes the means of HR@k, MRR@k and NDCG@k, with one relevant item for each rank.

    With the rank r of the only relevant item (the best possible DCG is 1):

        HR@k = [r <= k]    MRR@k = [r <= k] / r    NDCG@k = [r <= k] / log2(r + 1)

    Args:
        ranks: int array `[P]`, from 1, as `full_ranks` returns them.
        ks: positive integers, the cutoffs. Defaults to `(5, 10, 20)`.
        prefix: str. Put before each key, `"sampled_"` for instance.
            Defaults to `""`.

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
    return {name: float(np.mean(part)) for name, part in ranking_gains(ranks, ks, prefix).items()}


def ranking_gains(
    ranks: np.ndarray, ks: Sequence[int] = (5, 10, 20), prefix: str = ""
) -> dict[str, np.ndarray]:
    """What each rank adds to the means of `ranking_metrics`, `{name: float array [P]}`."""
    gains = {}
    for k in ks:
        check_count("k", k)
        hits = ranks <= k
        gains[f"{prefix}hr@{k}"] = hits.astype("float64")
        gains[f"{prefix}mrr@{k}"] = hits / ranks
        gains[f"{prefix}ndcg@{k}"] = hits / np.log2(ranks + 1.0)
    return gains


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
        owners = np.repeat(np.arange(len(query_ids)), lengths)
        before = np.cumsum(lengths) - lengths
        items = self.known_items[np.arange(len(owners)) + (starts - before)[owners]]
        kept = np.append(self.rankable, False)[items]
        return np.divmod(np.unique(owners[kept] * self.size + items[kept]), self.size)


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
