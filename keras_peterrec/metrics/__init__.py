"""Metrics of ranking and classification, and the baselines beside them.

All of it is NumPy: importing this package does not import TensorFlow.
"""

from keras_peterrec.metrics.baselines import (
    RidgeRanker,
    majority_probabilities,
    popularity_table,
)
from keras_peterrec.metrics.classification import classification_metrics
from keras_peterrec.metrics.full_ranking import full_ranks
from keras_peterrec.metrics.ranking import ranking_metrics
from keras_peterrec.metrics.sampled_ranking import sampled_ranks

__all__ = [
    "RidgeRanker",
    "classification_metrics",
    "full_ranks",
    "majority_probabilities",
    "popularity_table",
    "ranking_metrics",
    "sampled_ranks",
]
