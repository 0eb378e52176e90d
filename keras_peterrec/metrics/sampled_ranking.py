"""The rank of each target among a few randomly drawn items."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import check_count
from keras_peterrec.integers import counted_up, distinct_pairs
from keras_peterrec.metrics.ranking import GATHERED_VALUES, RankingInputs, exact_scores
from keras_peterrec.progress import each


def sampled_ranks(
    queries: ArrayLike,
    item_table: ArrayLike,
    pair_query: ArrayLike,
    pair_item: ArrayLike,
    known_offsets: ArrayLike,
    known_items: ArrayLike,
    negatives: int = 99,
    seed: int = 0,
    excluded_items: Iterable[int] = (),
    added: Callable | None = None,
) -> np.ndarray:
    """Ranks each pair's target among randomly drawn items that the user does not know.

    For each pair, `negatives` different items are drawn uniformly from those that are
    not known to the query's user, not the target and not excluded. Where there are
    fewer, all of them are drawn. Then

        rank = 1 + #{drawn i : s(i) >= s(t)}

    with ties and NaN against the model as in `full_ranks`. A target that cannot
    be ranked (-1, excluded, NaN) gets rank `negatives + 1`. Which items are drawn
    depends on the seed, the pairs and the lists, not on the scores: two models are
    compared with the same items. Sampled ranks are for comparison with papers; to
    choose between models use `full_ranks`.

    Args:
        queries: float array `[N, C]`. Read as float32.
        item_table: float array `[V, C]`. Read as float32.
        pair_query: int array `[P]` in `[0, N)`.
        pair_item: int array `[P]` in `[-1, V)`; -1 means "not in the table".
        known_offsets: int array `[N + 1]`, as in `full_ranks`.
        known_items: int array, each in `[-1, V)`, as in `full_ranks`.
        negatives: int. How many items are drawn for each pair. Defaults to `99`.
        seed: int. The same seed and pairs draw the same items. Defaults to `0`.
        excluded_items: ids that are never drawn. Defaults to `()`.
        added: Callable or `None`, as in `full_ranks`.

    Returns:
        int64 array `[P]` of ranks, from 1 to `negatives + 1`.

    Raises:
        InputError: if a shape, an id, `negatives` or `seed` is not as above.

    Example:

    >>> ranks = sampled_ranks(
    ...     [[1.0]], [[3.0], [2.0], [1.0]], [0], [1], [0, 0], [], negatives=2
    ... )
    >>> ranks.tolist()
    [2]

    Source: Yuan et al., "Parameter-Efficient Transfer from Sequential Behaviors
    for User Modeling and Recommendation", SIGIR 2020, section 4 (99 negatives).
    """
    check_count("negatives", negatives)
    check_count("seed", seed, least=0)
    inputs = RankingInputs(
        queries, item_table, pair_query, pair_item, known_offsets, known_items, excluded_items
    )
    drawer = _NegativeDrawer(inputs, negatives, seed)
    ranks = np.full(len(inputs.pair_item), negatives + 1, np.int64)
    widest = negatives * inputs.item_table.shape[1]
    if added is not None:
        widest = max(widest, inputs.size)
    chunk_size = max(1, GATHERED_VALUES // widest)
    for start in each(range(0, len(ranks), chunk_size), "ranking among samples"):
        pairs = np.arange(start, min(start + chunk_size, len(ranks)))
        drawn = drawer.draw(pairs)
        ranks[pairs] = 1 + _count_above(inputs, pairs, drawn, added)
    return np.where(inputs.scorable(), ranks, negatives + 1)


def _count_above(inputs, pairs, drawn, added):
    """Returns how many of the drawn items `[len(pairs), negatives]` are above, for each pair."""
    rows, columns = np.nonzero(drawn >= 0)
    query_ids, items = inputs.pair_query[pairs], drawn[rows, columns]
    table = inputs.item_table
    # Infinite vectors give warnings, but their scores are not used.
    with np.errstate(invalid="ignore"):
        scores = exact_scores(inputs.queries, query_ids[rows], table, items)
        targets = exact_scores(inputs.queries, query_ids, table, inputs.pair_item[pairs])
    if added is not None:
        different, place = np.unique(query_ids, return_inverse=True)
        extra = added(different)
        scores += extra[place[rows], items]
        targets += extra[place, inputs.pair_item[pairs]]
    above = (scores >= targets[rows]) | ~inputs.finite_items[items]
    return np.bincount(rows[above], minlength=len(pairs))


class _NegativeDrawer:
    """Draws different items for each pair, uniformly from the allowed ones.

    Numbers are drawn below the count of allowed items and then moved up past
    the banned ones, so no draw is ever rejected. The chunks of pairs read one stream
    of random numbers in order, so their size does not matter.
    """

    def __init__(self, inputs, negatives, seed):
        self.inputs, self.negatives = inputs, negatives
        self.generator = np.random.default_rng(seed)
        self.ids = np.flatnonzero(inputs.rankable)
        # Position of each item among the rankable ones.
        self.positions = np.cumsum(inputs.rankable) - 1

    def draw(self, pairs):
        """Returns item ids int64 `[len(pairs), negatives]`; -1 where there are fewer."""
        owners, banned = self._banned(pairs)
        counts = np.bincount(owners, minlength=len(pairs))
        places = self._distinct(len(self.ids) - counts)
        # The j-th banned position b (from 0) has b - j allowed ones below it, so
        # allowed number i lies past every banned one with b - j <= i. With one rising
        # key for each pair and position, a single search answers that for all pairs.
        stride = len(self.ids) + 1
        starts = np.cumsum(counts) - counts
        allowed_below = banned - counted_up(counts)
        keys = np.arange(len(pairs))[:, None] * stride + places
        passed = np.searchsorted(owners * stride + allowed_below, keys, side="right")
        positions = places + passed - starts[:, None]
        if len(self.ids) == 0:
            return np.full_like(places, -1)
        return np.where(places < 0, -1, self.ids[np.where(places < 0, 0, positions)])

    def _banned(self, pairs):
        """Returns owners and rankable positions of known items and targets, sorted."""
        inputs = self.inputs
        owners, items = inputs.known_of(inputs.pair_query[pairs])
        targets = inputs.pair_item[pairs]
        ranked = np.flatnonzero(np.append(inputs.rankable, False)[targets])
        owners = np.concatenate([owners, ranked])
        items = np.concatenate([items, targets[ranked]])
        return distinct_pairs(owners, self.positions[items], inputs.size)

    def _distinct(self, limits):
        """Returns different integers in `[0, limit)` for each row; -1 fills short rows.

        Floyd's algorithm (Bentley and Floyd, "A Sample of Brilliance", 1987):
        for each bound j draw r in [0, j]; if r was taken already, take j.
        """
        bounds = limits[:, None] - self.negatives + np.arange(self.negatives)
        random = self.generator.random(bounds.shape)
        draws = np.minimum((random * (bounds + 1)).astype(np.int64), bounds)
        draws[bounds < 0] = -1
        for column in range(1, self.negatives):
            taken = (draws[:, :column] == draws[:, column, None]).any(axis=1)
            taken &= bounds[:, column] >= 0
            draws[taken, column] = bounds[taken, column]
        return draws
