"""Metrics of several labels per user: AUC, average precision, precision at k, log-loss."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.metrics.checked_arrays import float_table
from keras_peterrec.metrics.classification import CLIP, area_under_curve


def multilabel_metrics(
    probabilities: ArrayLike, truths: ArrayLike, ks: Sequence[int] = (1, 3, 5)
) -> dict[str, float]:
    """Measures the probabilities of labels of which a user may have any number.

    With the probability p[u, l] that user u has label l, and the truth t[u, l]:

        macro_auc   = mean over labels of the AUC of p[:, l]
        micro_auc   = AUC of all pairs of a user and a label together
        map         = mean over users of the average precision of their ranked labels
        precision@k = mean over users of the share of true labels among the k best
        log_loss    = -mean [t log p + (1 - t) log(1 - p)],  p within [1e-7, 1 - 1e-7]

    `macro_auc` leaves out a label that all users have or none, and `map` a user
    without labels; such a user counts as 0 in `precision@k`. Ties count against the
    model in `map` and `precision@k`: where labels are equally probable, the wrong ones
    come first. In an AUC a tie is half a point, as is usual, so that a constant scores
    0.5. A NaN never helps: it counts as certainty of the wrong answer.

    Args:
        probabilities: float array `[N, n]`, each from 0 to 1.
        truths: array `[N, n]` of 0 and 1, 1 where the user has the label.
        ks: positive integers, the cutoffs of `precision@k`. Those that are not below
            the number of labels are left out: there the precision does not depend on
            the model. Defaults to `(1, 3, 5)`.

    Returns:
        A dict of floats: `"macro_auc"`, `"micro_auc"`, `"map"`, `"precision@1"`, ...,
        `"log_loss"`. An AUC is missing where `truths` are all alike, and `map` where
        no user has a label.

    Raises:
        InputError: if a shape, a probability, a truth or a cutoff is not as above.

    Example:

    >>> metrics = multilabel_metrics([[0.9, 0.2], [0.3, 0.4]], [[1, 0], [0, 1]])
    >>> metrics["macro_auc"], metrics["map"], metrics["precision@1"]
    (1.0, 1.0, 1.0)

    Source: Zhang and Zhou, "A Review on Multi-Label Learning Algorithms", IEEE TKDE
    2014, section 2.2.
    """
    probabilities, truths = _checked(probabilities, truths)
    for k in ks:
        check_count("k", k)
    probabilities = np.where(np.isnan(probabilities), 1.0 - truths, probabilities)
    positive = truths == 1
    metrics = {}
    both = np.flatnonzero(positive.any(axis=0) & ~positive.all(axis=0))
    if len(both):
        aucs = [area_under_curve(probabilities[:, label], positive[:, label]) for label in both]
        metrics["macro_auc"] = float(np.mean(aucs))
    if positive.any() and not positive.all():
        metrics["micro_auc"] = area_under_curve(probabilities.ravel(), positive.ravel())
    # By falling probability; of equal ones the wrong labels come first.
    order = np.lexsort((positive, -probabilities), axis=1)
    hits = np.take_along_axis(positive, order, axis=1)  # [N, n]
    precisions = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    counts = hits.sum(axis=1)
    if counts.any():
        averages = (precisions * hits).sum(axis=1)[counts > 0] / counts[counts > 0]
        metrics["map"] = float(np.mean(averages))
    for k in ks:
        if k < hits.shape[1]:
            metrics[f"precision@{k}"] = float(np.mean(precisions[:, k - 1]))
    of_truth = np.clip(np.where(positive, probabilities, 1.0 - probabilities), CLIP, 1 - CLIP)
    metrics["log_loss"] = float(-np.mean(np.log(of_truth)))
    return metrics


def label_shares(truths: ArrayLike, rows: int) -> np.ndarray:
    """Gives every user the shares of the labels in training, as probabilities.

    `p(l) = mean over users of t[u, l]`. Its log-loss is the least that a constant can
    have on the training labels, and each of its AUCs in `macro_auc` is 0.5.

    Args:
        truths: array `[N, n]` of 0 and 1, those of the training users.
        rows: int. The number of users to predict.

    Returns:
        float64 array `[rows, n]`.

    Raises:
        InputError: if an argument is not as above.

    Example:

    >>> label_shares([[1, 0], [1, 1]], rows=1).tolist()
    [[1.0, 0.5]]
    """
    check_count("rows", rows, least=0)
    return np.tile(_checked_truths(truths).mean(axis=0), (rows, 1))


def _checked(probabilities: ArrayLike, truths: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float64 `[N, n]`."""
    probabilities = float_table("probabilities", probabilities, np.float64)
    truths = _checked_truths(truths)
    if probabilities.shape != truths.shape:
        raise InputError(
            "`probabilities` and `truths` should have one shape. "
            f"Received: {probabilities.shape} and {truths.shape}."
        )
    wrong = (probabilities < 0) | (probabilities > 1)
    if wrong.any():
        raise InputError(
            "`probabilities` should be from 0 to 1 (not logits). "
            f"Received: {probabilities[wrong][0]}."
        )
    return probabilities, truths


def _checked_truths(truths: ArrayLike) -> np.ndarray:
    truths = float_table("truths", truths, np.float64)
    if len(truths) == 0:
        raise InputError("`truths` should have at least one row. Received: none.")
    wrong = (truths != 0) & (truths != 1)
    if wrong.any():
        raise InputError(f"`truths` should be 0 or 1. Received: {truths[wrong][0]}.")
    return truths
