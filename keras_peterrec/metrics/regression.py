"""Metrics of a predicted number: RMSE, MAE and R²."""

import numpy as np
from numpy.typing import ArrayLike

from keras_peterrec.errors import InputError
from keras_peterrec.metrics.checked_arrays import float_array


def regression_metrics(predictions: ArrayLike, truths: ArrayLike) -> dict[str, float]:
    """Measures predicted numbers against the true ones.

        rmse = sqrt(mean (p - t)²)
        mae  = mean |p - t|
        r2   = 1 - Σ (p - t)² / Σ (t - mean t)²

    `r2` is 0 for a model that always predicts the mean of `truths`, and negative for
    a worse one. Where the truths do not vary there is nothing to explain: it is 0.

    Args:
        predictions: array `[N]` of finite numbers.
        truths: array `[N]` of finite numbers, at least one.

    Returns:
        A dict of floats: `"rmse"`, `"mae"` and `"r2"`.

    Raises:
        InputError: if the arrays differ in shape or hold anything but finite numbers.

    Example:

    >>> regression_metrics([1.0, 2.0, 6.0], [1.0, 2.0, 3.0])["mae"]
    1.0

    Source: Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning",
    section 2.4 (squared and absolute error).
    """
    predictions = float_array("predictions", predictions)
    truths = float_array("truths", truths)
    if predictions.shape != truths.shape or len(truths) == 0:
        raise InputError(
            "`predictions` and `truths` should have one length of at least 1. "
            f"Received: {len(predictions)} and {len(truths)}."
        )
    errors = predictions - truths
    spread = float(np.sum((truths - truths.mean()) ** 2))
    # Equal truths may differ from their own rounded mean, and tiny ones square to zero.
    varies = np.ptp(truths) > 0 and spread > 0
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mae": float(np.mean(np.abs(errors))),
        "r2": 1 - float(np.sum(errors**2)) / spread if varies else 0.0,
    }
