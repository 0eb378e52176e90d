"""Softmax cross-entropy over a sample of the catalogue."""

import keras
from keras import ops

from keras_peterrec.layers.negative_sampler import NegativeSampler


@keras.saving.register_keras_serializable("keras_peterrec")
class SampledSoftmax(keras.layers.Layer):
    """Cross-entropy of the true item against negatives shared by the batch.

    The score of a negative i is corrected by `-log(S · q(i))`, S the number of
    negatives and q the law they are drawn by (with replacement; see
    `NegativeSampler`), so that the sum over them estimates the rest of the full
    softmax's normaliser. The true item's own score stands in it as it is; a negative
    that is the true item of a row does not count in that row.

    Args:
        items: int. Items V in the table, most frequent first.
        negatives: int. Negatives S of a batch. Defaults to `1000`.
        seed: int or `None`. Defaults to `None`.
        sampler: str. `"log_uniform"` or `"uniform"` over the items, or `"in_batch"`:
            from the targets of the batch. Defaults to `"log_uniform"`.
        counts: Array of shape `[V]` or `None`. How often each item is a target in
            training: the law of `"in_batch"`. Defaults to `None`: it is taken to be
            log-uniform.

    Call arguments:
        states: Tensor of shape `[N, C]`.
        targets: Integer tensor of shape `[N]`, rows of the table; -1 is not counted.
        table: Tensor of shape `[V, C]`. Only the rows asked for are read.

    Returns:
        float32 tensor of shape `[N]`, the loss of each row, 0 where not counted.

    Raises:
        ValueError: an argument is out of range.

    Example:

    >>> layer = SampledSoftmax(items=1_000_000)
    >>> negatives = layer.draw(targets)  # whoever keeps the table gathers the rows
    >>> losses = layer.losses(
    ...     states, targets, rows_of(targets), negatives, rows_of(negatives)
    ... )

    Source: Bengio and Senécal, 2008; Jean et al., 2015, section 3; Yi et al., RecSys
    2019 (in-batch).
    """

    def __init__(
        self, items, negatives=1000, seed=None, sampler="log_uniform", counts=None, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)  # the caller's types stay
        self.law = NegativeSampler(items, negatives, sampler, counts)
        self.items = items
        self.negatives = negatives
        self.seed = seed
        self.sampler = sampler
        self.counts = counts
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, states, targets, table):
        table = ops.convert_to_tensor(table)
        targets = ops.cast(targets, "int32")
        negatives = self.draw(targets)
        true_rows = ops.take(table, ops.maximum(targets, 0), axis=0)
        return self.losses(
            states, targets, true_rows, negatives, ops.take(table, negatives, axis=0)
        )

    def draw(self, targets):
        """Ids of a batch's negatives, `int32 [S]`."""
        return self.law.draw(targets, self.seed_generator)

    def losses(self, states, targets, true_rows, negatives, negative_rows):
        """Losses `[N]` of `states [N, C]` by rows of the table, `[N, C]` and `[S, C]`."""
        states = ops.convert_to_tensor(states)
        targets = ops.cast(targets, "int32")
        negative_rows = ops.cast(negative_rows, states.dtype)
        true_rows = ops.cast(ops.cast(true_rows, states.dtype), "float32")
        true_scores = ops.sum(ops.cast(states, "float32") * true_rows, axis=-1)
        scores = ops.cast(ops.matmul(states, ops.transpose(negative_rows)), "float32")
        scores = scores - self.law.log_expected(negatives)
        hit = ops.expand_dims(targets, -1) == negatives
        rest = ops.logsumexp(ops.where(hit, -1e9, scores), axis=-1)
        # logaddexp(rest, true) - true. Autodiff of this takes 1.2 times its products.
        losses = ops.softplus(rest - true_scores)
        return ops.where(targets >= 0, losses, 0.0)

    def compute_output_shape(self, states_shape, targets_shape, table_shape):
        return targets_shape

    def get_config(self):
        return {
            **super().get_config(),
            "items": self.items,
            "negatives": self.negatives,
            "seed": self.seed,
            "sampler": self.sampler,
            "counts": None if self.counts is None else [int(count) for count in self.counts],
        }
