"""Linear parts with random numbers, and what they should say, in plain NumPy."""

import numpy as np
import scipy.sparse

from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.linear_part import LinearPart, Rows
from keras_peterrec.linear.linear_table import LinearTable

ITEMS, OUTPUTS = 10, 7


def random_part(items, outputs, bag=Bag(), sparse=False, seed=0, scale=0.5):
    """A LinearPart of random numbers with a weight; a sparse one has a third of them."""
    random = np.random.default_rng(seed)
    table = random.normal(0, scale, (items, outputs)).astype("float32")
    if sparse:
        table = scipy.sparse.csr_matrix(table * (random.random(table.shape) < 0.3))
    bias = random.normal(0, scale, outputs).astype("float32")
    return LinearPart(bag, table, bias, weight=0.7)


def random_table(items, outputs, **arguments):
    """The same as a layer."""
    return LinearTable.of_part(random_part(items, outputs, **arguments))


def bag_of(history, bag, items):
    """The vector x of one history of ids, as the docstring of Bag says it."""
    known = [item - 4 for item in history if item >= 4][::-1][: bag.events]
    weights = [1.0 if bag.fade is None else 1 / (1 + j / bag.fade) for j in range(len(known))]
    x = np.zeros(items)
    for item, weight in zip(known, weights):
        x[item] += weight
    return x / sum(weights) ** bag.power if known else x


def scores_of(part, history):
    """`w (x T + b)` of one history, float64 `[Y]`."""
    table = part.table.toarray() if part.is_sparse else part.table
    x = bag_of(history, part.bag, len(table))
    return part.weight * (x @ table.astype("float64") + part.bias)


def random_rows(seed, users=12, longest=15, cuts=4):
    """Users' histories, with unknown items and repeats, and rows that are cuts of them."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, longest + 1, users)
    items = random.choice([1, *range(4, ITEMS + 4)], lengths.sum())
    ends = np.cumsum(lengths)
    rows = []
    for start, stop in zip(ends - lengths, ends):
        stops = random.integers(start, stop + 1, random.integers(0, cuts + 1))
        rows += [(start, cut) for cut in stops]  # in any order, some of them twice
    rows = np.array(rows).reshape(-1, 2)[random.permutation(len(rows))]
    counts = random.integers(0, 4, len(rows))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    targets = random.integers(0, OUTPUTS, offsets[-1])
    return Rows(items, rows[:, 0], rows[:, 1], offsets, targets)


def matrices(bag, rows):
    """The dense X and Y, one row after the other."""
    items, starts, stops, offsets, targets, *_ = rows
    x = np.array([bag_of(items[a:b], bag, ITEMS) for a, b in zip(starts, stops)])
    y = np.zeros((len(starts), OUTPUTS))
    for row in range(len(starts)):
        np.add.at(y[row], targets[offsets[row] : offsets[row + 1]], 1)
    return x.reshape(-1, ITEMS), y
