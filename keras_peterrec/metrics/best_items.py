"""The best items of some users, and what a report shows of a ranking."""

from collections.abc import Callable

import numpy as np

from keras_peterrec.metrics.measured import RowDetails
from keras_peterrec.progress import each

K = 10
MOST_LISTS = 1_000
MOST_SCORES = 10**8  # of all lists together: this bounds the time
CHUNK, HELD_SCORES = 128, 2**24  # rows and scores at once: some 300 MB with their order


def best_items(
    queries: np.ndarray,
    table: np.ndarray,
    rows: np.ndarray,
    k: int,
    known: Callable,
    added: Callable | None = None,
) -> np.ndarray:
    """The items with the highest scores `queries · tableᵀ + added`, best first.

    Args:
        queries: float array `[N, C]`.
        table: float array `[V, C]`.
        rows: int array `[S]` of queries.
        known: Callable from one query to the item numbers that are left out of its list.
        added: Callable or `None`. From queries `[Q]` to scores `[Q, V]`. Defaults to `None`.

    Returns:
        int32 array `[S, min(k, V)]`.
    """
    rows, table = np.asarray(rows, "int64"), np.asarray(table, "float32")
    k = min(k, len(table))
    found = np.empty((len(rows), k), "int32")
    chunk = max(1, min(CHUNK, HELD_SCORES // len(table)))
    for start in each(range(0, len(rows), chunk), "best items"):
        some = rows[start : start + chunk]
        scores = np.asarray(queries[some], "float32") @ table.T
        if added is not None:
            scores += added(some)
        for place, row in enumerate(some):
            scores[place, known(row)] = -np.inf
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found[start : start + chunk] = np.take_along_axis(best, order, axis=1)
    return found


def ranking_details(
    histories: tuple,
    queries: np.ndarray,
    table: np.ndarray,
    pairs: tuple,
    counts: np.ndarray,
    names: np.ndarray,
    known: Callable,
    added: Callable | None = None,
) -> RowDetails:
    """The RowDetails of a ranking, whose rows are queries, each with one item to be found or more.

    Args:
        histories: int arrays `(starts, stops)`, `[N]`: the history of each query.
        queries, table, known, added: see `best_items`.
        pairs: int arrays `(query, item)`, `[P]`, by rising query, none skipped; an item of -1 is
            not in the table.
        counts: int array `[V]`, by falling counts. How often training has each item.
        names: str array `[V]`.
    """
    firsts = np.searchsorted(pairs[0], np.arange(len(queries)))

    def arrays():
        lists = min(MOST_LISTS, max(1, MOST_SCORES // len(table)), len(queries))
        rows = np.linspace(0, len(queries) - 1, lists).astype("int64")
        unknown = len(table)
        most = np.minimum.reduceat(np.where(pairs[1] < 0, unknown, pairs[1]), firsts)
        return {
            "target": np.where(most == unknown, -1, most).astype("int32"),
            "counts": np.asarray(counts, "int64"),
            "lists": best_items(queries, table, rows, K, known, added),
        }

    def examples(chosen):
        shown = []
        for row, items in zip(chosen, best_items(queries, table, chosen, K, known, added)):
            items = items[~np.isin(items, known(row))]  # there are fewer than K others
            scores = np.asarray(table, "float32")[items] @ np.asarray(queries[row], "float32")
            if added is not None:
                scores = scores + added(np.array([row]))[0][items]
            truth = pairs[1][pairs[0] == row]
            shown.append(
                {
                    "truth": [str(names[item]) for item in truth if item >= 0],
                    "answer": [[str(names[n]), float(s)] for n, s in zip(items, scores)],
                }
            )
        return shown

    starts, stops = histories
    return RowDetails(starts, stops, arrays, examples, of_items=True)
