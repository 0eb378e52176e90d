"""Softmax cross-entropy over a sample of the catalogue."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_peterrec")
class SampledSoftmax(keras.layers.Layer):
    """Cross-entropy of the true item against negatives shared by the batch.

    Negatives follow the log-uniform law over items sorted by falling frequency,

        q(i) = log((i + 2) / (i + 1)) / log(V + 1),

    and the score of a negative is corrected by `-log(S · q(i))`, S the number of
    negatives, so that the sum over them estimates the rest of the full softmax's
    normaliser. The true item's own score stands in it as it is; a negative that is
    the true item of a row does not count in that row.

    Args:
        items: int. Items V in the table, most frequent first.
        negatives: int. Negatives S of a batch. Defaults to `1000`.
        seed: int or `None`. Defaults to `None`.

    Call arguments:
        states: Tensor of shape `[N, C]`.
        targets: Integer tensor of shape `[N]`, rows of the table.
        table: Tensor of shape `[V, C]`.

    Returns:
        Tensor of shape `[N]`, the loss of each row.

    Source: Bengio and Senécal, 2008; Jean et al., 2015, section 3.
    """

    def __init__(self, items, negatives=1000, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.items = items
        self.negatives = negatives
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, states, targets, table):
        # [S]: the inverse of the log-uniform law at uniform points.
        uniform = keras.random.uniform((self.negatives,), seed=self.seed_generator)
        drawn = ops.cast(ops.exp(uniform * math.log(self.items + 1)), "int32") - 1
        drawn = ops.clip(drawn, 0, self.items - 1)
        true_scores = ops.sum(states * ops.take(table, targets, axis=0), axis=-1)
        scores = ops.matmul(states, ops.transpose(ops.take(table, drawn, axis=0)))  # [N, S]
        true_scores = ops.cast(true_scores, "float32")
        scores = ops.cast(scores, "float32") - self._log_expected(drawn)
        hit = ops.expand_dims(ops.cast(targets, "int32"), -1) == drawn
        scores = ops.where(hit, -1e9, scores)
        everything = ops.concatenate([ops.expand_dims(true_scores, -1), scores], axis=-1)
        return ops.logsumexp(everything, axis=-1) - true_scores

    def _log_expected(self, item):
        """Logarithm of the expected count of `item` among the negatives."""
        item = ops.cast(item, "float32")
        # log1p: in float32, (i + 2) / (i + 1) is off by per cents at a million items.
        probability = ops.log1p(1.0 / (item + 1.0)) / math.log(self.items + 1)
        return ops.log(self.negatives * probability)

    def compute_output_shape(self, states_shape, targets_shape, table_shape):
        return targets_shape

    def get_config(self):
        return {
            **super().get_config(),
            "items": self.items,
            "negatives": self.negatives,
            "seed": self.seed,
        }
