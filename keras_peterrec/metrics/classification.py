"""Accuracy, macro-F1, log-loss and AUC of class probabilities."""

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.metrics.checked_arrays import float_table, integer_array

CLIP = 1e-7  # a certain mistake costs no more than -log of this


def classification_metrics(
    probabilities: ArrayLike, labels: ArrayLike, classes: int
) -> dict[str, float]:
    """Computes accuracy, macro-F1, log-loss and, for two classes, AUC.

    With the probability p[n, y] of the true class y of row n:

        accuracy = mean [p[n, y] > max of the others]
        log_loss = -mean log clip(p[n, y], 1e-7, 1 - 1e-7)
        F1(c)    = 2 TP / (2 TP + FP + FN),    macro_f1 = mean over all classes
        auc      = P(p1 of a row of class 1 > p1 of a row of class 0)
                   + P(they are equal) / 2

    A tie counts against the model: a row is predicted as its true class only
    if that is strictly the most probable one, otherwise as the most probable other
    class (the first of equal ones). F1 of a class that is neither present nor
    predicted is 0, and it counts in the mean, as in scikit-learn's `f1_score`
    with `labels=range(classes), average="macro", zero_division=0`. AUC is the
    Mann-Whitney statistic with its usual half point for a tie, so that a constant
    model scores 0.5. A NaN never helps: it counts as a wrong prediction, as
    probability 1e-7 in the log-loss and as the worst score in the AUC.

    Args:
        probabilities: float array `[N, classes]`; rows sum to one.
        labels: int array `[N]` in `[0, classes)`.
        classes: int, at least 2. The number of classes.

    Returns:
        A dict of floats: `"accuracy"`, `"macro_f1"`, `"log_loss"`, and `"auc"`
        if there are two classes and `labels` holds both.

    Raises:
        InputError: if a shape, a label or a probability is not as above.

    Example:

    >>> metrics = classification_metrics([[0.9, 0.1], [0.4, 0.6]], [0, 1], classes=2)
    >>> metrics["accuracy"], metrics["auc"]
    (1.0, 1.0)

    Source: Mann and Whitney, "On a Test of Whether one of Two Random Variables
    is Stochastically Larger than the Other", 1947 (AUC).
    """
    check_count("classes", classes, least=2)
    probabilities = _checked_probabilities(probabilities, classes)
    labels = integer_array("labels", labels, 0, classes)
    if len(labels) != len(probabilities) or len(labels) == 0:
        raise InputError(
            "`labels` should have one label for each row of `probabilities`, and at "
            f"least one. Received: {len(labels)} labels and {len(probabilities)} rows."
        )
    rows = np.arange(len(labels))
    predicted = _predicted(probabilities, labels)
    true_probability = np.nan_to_num(probabilities[rows, labels], nan=0.0)
    metrics = {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": _macro_f1(predicted, labels, classes),
        "log_loss": float(-np.mean(np.log(np.clip(true_probability, CLIP, 1 - CLIP)))),
    }
    if classes == 2 and 0 < np.sum(labels) < len(labels):
        metrics["auc"] = area_under_curve(probabilities[:, 1], labels == 1)
    return metrics


def _checked_probabilities(probabilities: ArrayLike, classes: int) -> np.ndarray:
    """Returns `probabilities` as float64 `[N, classes]`; NaN may pass."""
    # float64, because float32 cannot tell 1 - 1e-7 from 1.
    probabilities = float_table("probabilities", probabilities, np.float64)
    if probabilities.shape[1] != classes:
        raise InputError(
            f"`probabilities` should have one column for each of {classes} classes. "
            f"Received: `probabilities` of shape {probabilities.shape}."
        )
    sums = probabilities.sum(axis=1)
    # Sums in half precision may be off by about a thousandth.
    wrong = (probabilities < 0).any(axis=1) | (np.abs(sums - 1) > 0.01)
    if wrong.any():
        raise InputError(
            "`probabilities` should be rows of non-negative numbers that sum to one (not "
            f"logits). Received: row {int(np.argmax(wrong))} = "
            f"{probabilities[np.argmax(wrong)][:5].tolist()}."
        )
    return probabilities


def _predicted(probabilities, labels):
    """Returns the predicted class of each row, `[N]`, with ties and NaN against the model."""
    rows = np.arange(len(labels))
    true_probability = probabilities[rows, labels]
    others = np.nan_to_num(probabilities, nan=np.inf)
    others[rows, labels] = -np.inf
    best_other = others.argmax(axis=1)
    # A comparison with NaN is False, which gives the other class.
    return np.where(true_probability > others[rows, best_other], labels, best_other)


def _macro_f1(predicted, labels, classes):
    """Returns the mean F1 of all classes; 0 for a class neither present nor predicted."""
    present = np.bincount(labels, minlength=classes)
    claimed = np.bincount(predicted, minlength=classes)
    correct = np.bincount(labels[predicted == labels], minlength=classes)
    # 2 TP + FP + FN = rows present + rows predicted.
    return float(np.mean(2 * correct / np.maximum(present + claimed, 1)))


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Computes the AUC: how often a positive row scores above a negative one.

    It is the Mann-Whitney statistic, with half a point for a tie.

    Args:
        scores: float array `[N]`. A NaN counts as the worst score of its row.
        positive: bool array `[N]`, with both values in it.
    """
    scores = np.where(np.isnan(scores), np.where(positive, -np.inf, np.inf), scores)
    _, groups = np.unique(scores, return_inverse=True)
    positives = np.bincount(groups[positive], minlength=groups.max() + 1)
    negatives = np.bincount(groups[~positive], minlength=groups.max() + 1)
    negatives_below = np.cumsum(negatives) - negatives
    won = np.sum(positives * (negatives_below + negatives / 2))
    # In floats: the product of two counts may pass 2^63.
    return float(won / (float(positives.sum()) * float(negatives.sum())))
