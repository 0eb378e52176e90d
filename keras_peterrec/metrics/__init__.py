"""Metrics of each kind of task, and the baselines to compare with.

All of it is NumPy: importing this package does not import TensorFlow.
"""

from keras_peterrec.metrics.baselines import (
    UNIFORM,
    majority_probabilities,
    own_items_ranks,
    popularity_ranks,
    popularity_table,
    uniform_probabilities,
)
from keras_peterrec.metrics.classification import classification_metrics
from keras_peterrec.metrics.full_ranking import full_ranks
from keras_peterrec.metrics.multilabel import label_shares, multilabel_metrics
from keras_peterrec.metrics.ranking import ranking_metrics
from keras_peterrec.metrics.regression import regression_metrics
from keras_peterrec.metrics.sampled_ranking import sampled_ranks

__all__ = [
    "UNIFORM",
    "classification_metrics",
    "full_ranks",
    "label_shares",
    "majority_probabilities",
    "multilabel_metrics",
    "own_items_ranks",
    "popularity_ranks",
    "popularity_table",
    "ranking_metrics",
    "regression_metrics",
    "sampled_ranks",
    "uniform_probabilities",
]
