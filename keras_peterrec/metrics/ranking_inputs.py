"""What full and sampled ranking share: checked inputs and one exact score."""

import numpy as np

from keras_peterrec.errors import InputError

# Rows read at once times C: 8 MB of float64.
GATHERED_VALUES = 2**20


def exact_scores(queries, query_ids, item_table, item_ids):
    """The score of each (query, item) couple, `s = sum_c q_c * v_c`, in float64.

    A float32 matrix product may round the same dot product differently at
    different places of the matrix, so two equal items can get unequal scores
    there. Here a product of two float32 numbers is exact and the sum always
    runs in the same order: equal vectors get equal scores, however the work
    is cut into chunks.

    Args:
        queries: float32 array `[N, C]`.
        query_ids: int array `[M]`, or one int for all couples.
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


def row_blocks(table, rows=None):
    """Slices that cover as many rows of a table's width, a few MB each."""
    rows = len(table) if rows is None else rows
    size = max(1, GATHERED_VALUES // table.shape[1])
    return [slice(start, start + size) for start in range(0, rows, size)]


def check_count(name, value, least=1):
    """Raises `InputError` unless `value` is an integer of at least `least`."""
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < least:
        kind = {0: "a non-negative integer", 1: "a positive integer"}.get(
            least, f"an integer of at least {least}"
        )
        raise InputError(f"`{name}` should be {kind}. Received: `{name}` = {value!r}.")


def integer_array(name, values, low, high):
    """`values` as int64 `[M]`, each in `[low, high)`; else raises `InputError`."""
    values = np.asarray(values)
    if values.size == 0:
        values = values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InputError(
            f"`{name}` should be a one-dimensional array of integers. Received: "
            f"`{name}` of shape {values.shape} and dtype {values.dtype}."
        )
    wrong = (values < low) | (values >= high)
    if wrong.any():
        raise InputError(
            f"`{name}` should be integers from {low} to {high - 1}. Received: "
            f"{values[wrong][0]} at position {int(np.argmax(wrong))}."
        )
    return values.astype(np.int64)


def float_table(name, values, dtype=np.float32):
    """`values` as a float matrix with at least one column, or `InputError`."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(
            f"`{name}` should be a matrix with one row each and at least one "
            f"column. Received: `{name}` of shape {values.shape}."
        )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype)


def csr_lists(names, offsets, items, rows, size):
    """Checked CSR lists: int64 offsets `[rows + 1]` and items in `[-1, size)`.

    `names` are those of the two arguments; `rows` is None where any number will do.
    """
    items = integer_array(names[1], items, -1, size)
    offsets = integer_array(names[0], offsets, 0, len(items) + 1)
    if rows is None:
        rows = max(0, len(offsets) - 1)
    ends_fit = len(offsets) == rows + 1 and offsets[0] == 0 and offsets[-1] == len(items)
    if not ends_fit or (np.diff(offsets) < 0).any():
        raise InputError(
            f"`{names[0]}` should be {rows + 1} rising integers from 0 to "
            f"len({names[1]}) = {len(items)}. Received: {len(offsets)} integers, "
            f"{offsets[:3].tolist()} ... {offsets[-1:].tolist()}."
        )
    return offsets, items


def _finite_rows(table):
    """bool `[R]`: whether all numbers of a row are finite."""
    finite = np.empty(len(table), bool)
    for rows in row_blocks(table):
        finite[rows] = np.isfinite(table[rows]).all(axis=1)
    return finite


class RankingInputs:
    """The checked inputs of `full_ranks` and `sampled_ranks`.

    A vector that is not finite through and through (NaN or infinite, as a
    diverged model gives) has NaN for all of its scores.

    Args:
        queries: float array `[N, C]`.
        item_table: float array `[V, C]`.
        pair_query: int array `[P]` in `[0, N)`.
        pair_item: int array `[P]` in `[-1, V)`; -1 is "not in the table".
        known_offsets: int array `[N + 1]`, CSR offsets of the known items.
        known_items: int array, each in `[-1, V)`; -1 is left out.
        excluded_items: ids in `[0, V)` that are never ranked.

    Raises:
        InputError: where a shape, a type or an id is not as above.
    """

    def __init__(
        self,
        queries,
        item_table,
        pair_query,
        pair_item,
        known_offsets,
        known_items,
        excluded_items=(),
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

    def scorable(self):
        """bool `[P]`: False where the target is -1 or excluded or has a NaN score."""
        # The appended element is what the id -1 reads.
        targets_rank = np.append(self.finite_items & self.rankable, False)
        finite_queries = _finite_rows(self.queries)
        return targets_rank[self.pair_item] & finite_queries[self.pair_query]

    def known_of(self, query_ids):
        """The known, rankable items of each query, sorted and without repeats.

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
