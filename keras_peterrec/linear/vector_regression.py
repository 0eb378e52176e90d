"""Vectors of items that nobody clicked yet, predicted from what their columns say."""

import numpy as np
import scipy.linalg

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
HELD_OUT = 10  # every tenth item chooses the penalty


def predicted_vectors(known, vectors, new):
    """Ridge regression from features to vectors, around their mean.

        v = m + x W,   W = argmin |X W - (V - m)|² + penalty |W|²

    The penalty is the best for a tenth of the known items, which are then fitted to as well.

    Args:
        known: sparse matrix `[K, D]` of the items whose vectors are known.
        vectors: float array `[K, C]`.
        new: sparse matrix `[N, D]`.

    Returns:
        float32 array `[N, C]`; the mean for an item without features.
    """
    mean = vectors.mean(axis=0)
    held_out = np.arange(len(vectors)) % HELD_OUT == HELD_OUT - 1
    penalty = PENALTIES[-1]
    if held_out.any():
        some, rest = known[np.flatnonzero(~held_out)], known[np.flatnonzero(held_out)]
        errors = [
            np.mean((mean + rest @ weights - vectors[held_out]) ** 2)
            for weights in _ridges(some, vectors[~held_out] - mean, PENALTIES)
        ]
        penalty = PENALTIES[int(np.argmin(errors))]
    (weights,) = _ridges(known, vectors - mean, [penalty])
    return (mean + new @ weights).astype("float32")


def _ridges(features, targets, penalties):
    """W for each penalty, `[D, C]`, from the smaller one of X'X and XX'."""
    rows, columns = features.shape
    by_rows = rows < columns
    gram = (features @ features.T if by_rows else features.T @ features).toarray()
    gram = gram.astype("float64")
    right = targets.astype("float64") if by_rows else features.T @ targets.astype("float64")
    for penalty in penalties:
        system = gram + penalty * np.eye(len(gram))
        solution = scipy.linalg.solve(system, right, assume_a="pos", overwrite_a=True)
        yield features.T @ solution if by_rows else solution
