"""Accuracy, macro-F1, log-loss and AUC of class probabilities."""

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.metrics.ranking_inputs import check_count, float_table, integer_array

_CLIP = 1e-7


def classification_metrics(probabilities, labels, classes):
    """Accuracy, macro-F1, log-loss and, of two classes, AUC.

    With the probability p[n, y] of the true class y of row n:

        accuracy = mean [p[n, y] > max of the others]
        log_loss = -mean log clip(p[n, y], 1e-7, 1 - 1e-7)
        F1(c)    = 2 TP / (2 TP + FP + FN),    macro_f1 = mean over all classes
        auc      = P(p1 of a row of class 1 > p1 of a row of class 0)
                   + P(they are equal) / 2

    A tie counts against the model: a row is predicted as its true class only
    where that is strictly the most probable, else as the most probable other
    class (the first of equal ones). F1 of a class that is neither present nor
    predicted is 0, and it counts in the mean, as in scikit-learn's `f1_score`
    with `labels=range(classes), average="macro", zero_division=0`. AUC is the
    Mann-Whitney statistic with its usual half for a tie: it compares rows, where
    a tie is no claim about either, and a constant model has to score 0.5. A NaN
    never helps: it is a wrong prediction, the log-loss of probability 1e-7, and
    the worst place in the AUC.

    Args:
        probabilities: float array `[N, classes]`; rows sum to one.
        labels: int array `[N]` in `[0, classes)`.
        classes: int, at least 2. The number of classes.

    Returns:
        A dict of floats: `"accuracy"`, `"macro_f1"`, `"log_loss"`, and `"auc"`
        where there are two classes and `labels` holds both.

    Raises:
        InputError: where a shape, a label or a probability is not as above.

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
        "log_loss": float(-np.mean(np.log(np.clip(true_probability, _CLIP, 1 - _CLIP)))),
    }
    if classes == 2 and 0 < np.sum(labels) < len(labels):
        metrics["auc"] = _auc(probabilities[:, 1], labels)
    return metrics


def _checked_probabilities(probabilities, classes):
    """`probabilities` as float64 `[N, classes]`, or `InputError`; NaN may pass."""
    # float64, because clipping at 1 - 1e-7 is too fine for float32.
    probabilities = float_table("probabilities", probabilities, np.float64)
    if probabilities.shape[1] != classes:
        raise InputError(
            f"`probabilities` should have one column for each of {classes} classes. "
            f"Received: `probabilities` of shape {probabilities.shape}."
        )
    sums = probabilities.sum(axis=1)
    # Half precision sums may miss one by about a thousandth.
    wrong = (probabilities < 0).any(axis=1) | (np.abs(sums - 1) > 0.01)
    if wrong.any():
        raise InputError(
            "`probabilities` should be non-negative rows that sum to one (not "
            f"logits). Received: row {int(np.argmax(wrong))} = "
            f"{probabilities[np.argmax(wrong)][:5].tolist()}."
        )
    return probabilities


def _predicted(probabilities, labels):
    """The predicted class of each row, `[N]`, with ties and NaN against the model."""
    rows = np.arange(len(labels))
    true_probability = probabilities[rows, labels]
    others = np.nan_to_num(probabilities, nan=np.inf)
    others[rows, labels] = -np.inf
    best_other = others.argmax(axis=1)
    # A NaN compares False, so it lands with the other class.
    return np.where(true_probability > others[rows, best_other], labels, best_other)


def _macro_f1(predicted, labels, classes):
    """Mean F1 over all classes; 0 for a class neither present nor predicted."""
    present = np.bincount(labels, minlength=classes)
    claimed = np.bincount(predicted, minlength=classes)
    correct = np.bincount(labels[predicted == labels], minlength=classes)
    # 2 TP + FP + FN = rows present + rows predicted.
    return float(np.mean(2 * correct / np.maximum(present + claimed, 1)))


def _auc(scores, labels):
    """Mann-Whitney AUC of class 1 against class 0, half a point for a tie."""
    positive = labels == 1
    scores = np.where(np.isnan(scores), np.where(positive, -np.inf, np.inf), scores)
    _, groups = np.unique(scores, return_inverse=True)
    positives = np.bincount(groups[positive], minlength=groups.max() + 1)
    negatives = np.bincount(groups[~positive], minlength=groups.max() + 1)
    negatives_below = np.cumsum(negatives) - negatives
    won = np.sum(positives * (negatives_below + negatives / 2))
    return float(won / (positives.sum() * negatives.sum()))
