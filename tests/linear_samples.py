"""Linear parts with random numbers, and what they should say, in plain NumPy."""

import numpy as np
import scipy.sparse

from keras_peterrec.layers.linear_table import LinearTable
from keras_peterrec.models.linear_part import Bag, LinearPart


def random_part(items, outputs, bag=Bag(), sparse=False, seed=0, scale=0.5):
    """A LinearPart of random numbers; a sparse one has a third of them."""
    random = np.random.default_rng(seed)
    table = random.normal(0, scale, (items, outputs)).astype("float32")
    if sparse:
        table = scipy.sparse.csr_matrix(table * (random.random(table.shape) < 0.3))
    return LinearPart(bag, table, random.normal(0, scale, outputs).astype("float32"))


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
    """`x T + b` of one history, float64 `[Y]`."""
    table = part.table.toarray() if part.is_sparse else part.table
    return bag_of(history, part.bag, len(table)) @ table.astype("float64") + part.bias
