"""Losses of a recommendation task."""

import math
from typing import Any

import keras
from keras import ops

KINDS = ("softmax", "bce", "sampled", "bpr")


@keras.saving.register_keras_serializable("keras_peterrec")
class TargetLoss(keras.losses.Loss):
    """Loss of the scores of all target items, given the items a user chose.

        softmax:  -log softmax(s)_y
        bce:      -log sigmoid(s_y + c), and -log(1 - sigmoid(s_n + c)) of every item n
        sampled:  -log of the softmax over y and `negatives` uniform items
        bpr:      -log sigmoid(s_y - s_n), n one uniform item

    A row may have several true items y, the targets of one history. Its loss is their sum,
    divided by the mean number of a row: as in the metrics, every event counts the same,
    not every row. The constant c of `bce` is the log of the share of events among all
    items, so that scores start near the truth.

    Args:
        kind: str. `"softmax"`, `"bce"`, `"sampled"` or `"bpr"`. Defaults to `"softmax"`;
            `"bce"` is better where rows have many true items.
        negatives: int. Of the sampled kind. Defaults to `100`.
        events_per_row: float. Mean number of true items of a row. Defaults to `1.0`.
        seed: int or `None`. Of the sampling.

    Call arguments:
        y_true: Integer tensor of shape `[..., T]`, items chosen, filled up with -1.
        y_pred: Tensor of shape `[..., Y]`, scores.

    Source: Yuan et al., SIGIR 2020, section 3.3, Eq. (6) and (7); `bce` is not there.
    """

    def __init__(
        self,
        kind: str = "softmax",
        negatives: int = 100,
        events_per_row: float = 1.0,
        seed: int | None = None,
        name: str = "target_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` should be one of {KINDS}. Received: `kind` = {kind!r}.")
        self.kind = kind
        self.negatives = negatives
        self.events_per_row = events_per_row
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "int32")
        counted = ops.cast(y_true >= 0, y_pred.dtype)
        others = 0.0
        if self.kind == "bce":
            y_pred = y_pred + math.log(self.events_per_row / y_pred.shape[-1])
            others = ops.sum(ops.softplus(y_pred), axis=-1)
        true_scores = ops.take_along_axis(y_pred, ops.maximum(y_true, 0), axis=-1)  # [B, T]
        if self.kind == "softmax":
            losses = ops.logsumexp(y_pred, axis=-1, keepdims=True) - true_scores
        elif self.kind == "bce":
            losses = ops.softplus(-true_scores)
        else:
            losses = self._against_sampled(y_pred, true_scores)
        return (ops.sum(losses * counted, axis=-1) + others) / self.events_per_row

    def _against_sampled(self, y_pred, true_scores):
        items = ops.shape(y_pred)[-1]
        if self.kind == "bpr":
            # One for each true item; one for the batch would be one item's gradient.
            shape = ops.shape(true_scores)
            drawn = keras.random.randint(shape, 0, items, seed=self.seed_generator)
            return ops.softplus(ops.take_along_axis(y_pred, drawn, axis=-1) - true_scores)
        drawn = keras.random.randint((self.negatives,), 0, items, seed=self.seed_generator)
        margin = ops.expand_dims(ops.take(y_pred, drawn, axis=-1), -2)  # [..., 1, S]
        margin = margin - ops.expand_dims(true_scores, -1)  # [..., T, S]
        return ops.softplus(ops.logsumexp(margin, axis=-1))

    def get_config(self):
        return {
            **super().get_config(),
            "kind": self.kind,
            "negatives": self.negatives,
            "events_per_row": self.events_per_row,
            "seed": self.seed,
        }
