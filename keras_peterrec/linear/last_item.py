"""The baseline of a shop: the last item again, then what followed it, then what is popular."""

import functools
from typing import Any

import numpy as np
import scipy.sparse

from keras_peterrec.integers import distinct, distinct_pairs, slices
from keras_peterrec.linear.bag import only_known
from keras_peterrec.linear.linear_part import Rows
from keras_peterrec.linear.sparse_regression import Pairs

NAME = "last item and successors"
FIRST = 2.0**24  # the score of the last item itself; the others are whole numbers below it
KNOWN = 4_000_000  # known items that are looked at at once


class LastItemCounts:
    """Ranks items by the last one of a history, from counts alone.

    First is the last item itself; then come the others by how often training has them right after
    it; of equal ones the more popular. Equal in both is a tie, which counts against the answer.

    Args:
        followers: sparse matrix `[I, Y]` of counts. How often target y followed item i.
        counts: int array `[Y]`. How often training has each target.
        same: int array `[I]`. The target that is the same item, or -1. Defaults to `None`: target
            i is item i.

    Source: the strongest of the simple rules (`SR`, sequential rules of one step) of Ludewig and
    Jannach, "Evaluation of Session-based Recommendation Algorithms", UMUAI 2018.
    """

    def __init__(self, followers: Any, counts: np.ndarray, same: np.ndarray | None = None) -> None:
        self.followers = scipy.sparse.csr_matrix(followers)
        self.counts = np.asarray(counts, "int64")
        self.same = np.arange(self.followers.shape[0]) if same is None else np.asarray(same)

    def ranks(
        self,
        last: np.ndarray,
        pair_query: np.ndarray,
        pair_item: np.ndarray,
        known_offsets: np.ndarray,
        known_items: np.ndarray,
    ) -> np.ndarray:
        """The ranks of `full_ranks`, without a score for every item.

        Args:
            last: int array `[N]`. The last item of each query's history; -1 if it has none.
            pair_query, pair_item, known_offsets, known_items: see `full_ranks`.

        Returns:
            int64 array `[P]` of ranks, from 1 to Y.
        """
        last, owners, asked = (np.asarray(x, "int64") for x in (last, pair_query, pair_item))
        of_items = _Followed(self, last)
        places = of_items.places(last)
        ranks = np.full(len(asked), len(self.counts), "int64")
        pairs = np.flatnonzero(asked >= 0)
        lengths = np.diff(known_offsets)[owners[pairs]]
        cuts = np.searchsorted(np.cumsum(lengths), np.arange(KNOWN, lengths.sum(), KNOWN))
        for some in np.split(pairs, cuts):
            rows, targets = places[owners[some]], asked[some]
            keys = of_items.keys(rows, targets)
            above = of_items.at_least(rows, targets, keys)
            pair, items = _known_of(owners[some], known_offsets, known_items, len(self.counts))
            counted = items != targets[pair]
            pair, items = pair[counted], items[counted]
            removed = of_items.keys(rows[pair], items) >= keys[pair]
            ranks[some] = above - np.bincount(pair[removed], minlength=len(some))
        return ranks

    def scores(self, last: np.ndarray) -> np.ndarray:
        """Scores that give the same order, whole numbers in float32 `[N, Y]`."""
        popular, followed = self._scores
        scores = np.tile(popular, (len(last), 1))
        for row, item in enumerate(last):
            if item < 0:
                continue
            some = slice(self.followers.indptr[item], self.followers.indptr[item + 1])
            scores[row, self.followers.indices[some]] = followed[some]
            if self.same[item] >= 0:
                scores[row, self.same[item]] = FIRST
        return scores

    @functools.cached_property
    def _scores(self):
        """Of each target where it never followed, and of each entry of `followers`; whole numbers
        without gaps, which are exact in float32."""
        popular = np.searchsorted(distinct(self.counts), self.counts)
        keys = self.followers.data.astype("int64") * len(self.counts)
        keys += popular[self.followers.indices]
        followed = len(self.counts) + np.searchsorted(distinct(keys), keys)
        return popular.astype("float32"), followed.astype("float32")


class _Followed:
    """What followed some last items, so that the keys of any of them can be looked up.

    The key of an item is `followed · (most + 1) + count`; that of the last item itself is larger
    than any other.
    """

    def __init__(self, counts: LastItemCounts, last: np.ndarray) -> None:
        self.items = distinct(last[last >= 0])
        self.size, popular = len(counts.counts), counts.counts
        self.most = int(popular.max(initial=0))
        self.popular, self.sorted_popular = popular, np.sort(popular)
        followed = counts.followers[self.items].tocoo()
        same = counts.same[self.items]
        again = np.flatnonzero(same >= 0)
        # The last item has an entry even where it never followed itself; one row more is empty.
        cells = (
            np.concatenate([followed.data, np.zeros(len(again))]),
            (np.concatenate([followed.row, again]), np.concatenate([followed.col, same[again]])),
        )
        table = scipy.sparse.csr_matrix(cells, (len(self.items) + 1, self.size))
        table.sum_duplicates()
        rows = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
        columns = table.indices.astype("int64")
        self.cells = rows * self.size + columns
        self.values = table.data.astype("int64") * (self.most + 1) + popular[columns]
        self.values[np.append(same, -1)[rows] == columns] = np.iinfo("int64").max
        self.ends = table.indptr[1:]
        self.by_key = _Sorted(rows, self.values)
        self.by_count = _Sorted(rows, popular[columns])

    def places(self, last: np.ndarray):
        """The row of each last item; the empty one for -1."""
        return np.where(last >= 0, np.searchsorted(self.items, last), len(self.items))

    def keys(self, rows: np.ndarray, items: np.ndarray):
        cells = rows * self.size + items
        at = np.minimum(np.searchsorted(self.cells, cells), max(len(self.cells) - 1, 0))
        values = self.popular[items].copy()
        if len(self.cells):
            has = self.cells[at] == cells
            values[has] = self.values[at[has]]
        return values

    def at_least(self, rows: np.ndarray, items: np.ndarray, keys):
        """How many items have at least the key of a row's item, itself included."""
        above = self.ends[rows] - self.by_key.below(rows, keys)
        popular = self.popular[items]
        others = self.size - np.searchsorted(self.sorted_popular, popular)
        others -= self.ends[rows] - self.by_count.below(rows, popular)
        return above + np.where(keys <= self.most, others, 0)


class _Sorted:
    """Values of rows, of which can be told how many come before a value of a row."""

    def __init__(self, rows: np.ndarray, values) -> None:
        self.distinct = distinct(values)
        self.cells = np.sort(self._cells(rows, values))

    def below(self, rows: np.ndarray, values):
        """How many values of the rows before, and of this row below a value."""
        return np.searchsorted(self.cells, self._cells(rows, values))

    def _cells(self, rows, values):
        return rows * (len(self.distinct) + 1) + np.searchsorted(self.distinct, values)


def _known_of(queries, offsets, items, size):
    """The known items of each query, none twice: places in `queries`, and items."""
    offsets, items = np.asarray(offsets), np.asarray(items, "int64")
    owners, places = slices(offsets[queries], offsets[queries + 1] - offsets[queries])
    their_items = items[places]
    return distinct_pairs(owners[their_items >= 0], their_items[their_items >= 0], size)


def last_items(items: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The last known item of each history, numbered from 0, or -1; see `only_known`."""
    kept, first, last = only_known(items, starts, stops)
    return np.where(last > first, np.append(kept, -1)[last - 1], -1).astype("int64")


def add_followers(pairs: Pairs, rows: Rows) -> None:
    """Counts which target followed the last item of which row.

    Args:
        pairs: Pairs `[I, Y]`, which keep the most frequent ones alone where there are too many.
    """
    last = np.repeat(last_items(rows.items, rows.starts, rows.stops), np.diff(rows.offsets))
    pairs.add(last, rows.targets.astype("int64"), np.ones(len(last), "float32"))
