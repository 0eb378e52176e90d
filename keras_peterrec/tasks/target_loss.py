"""Losses of a recommendation task."""

import math
from typing import Any

import keras
from keras import ops

from keras_peterrec.types import Json, Tensor

KINDS = ("softmax", "bce", "sampled", "bpr")


@keras.saving.register_keras_serializable("keras_peterrec")
class TargetLoss(keras.losses.Loss):
    """The loss of scores of all target items, given the items that a user chose.

        softmax:  -log softmax(s)_y
        bce:      -log sigmoid(s_y + c), and -log(1 - sigmoid(s_n + c)) of every item n not chosen
        sampled:  -log of the softmax over y and `negatives` uniform items
        bpr:      -log sigmoid(s_y - s_n), n one uniform item

    A row may have several true items y, the targets of one history. Its loss is their sum,
    divided by the mean number of a row: as in the metrics, every event counts the same,
    not every row. No item of a row counts as a negative there: a drawn one is left out. The
    constant c of `bce` is the log-odds of the share of events among all items, so that scores
    start near the truth.

    True items may have weights, by which their own parts of the loss are multiplied. In `bce` those
    of the items that are not chosen stay as they are, so that a weight says how sure it is that an
    item was wanted.

    Args:
        kind: str. `"softmax"`, `"bce"`, `"sampled"` or `"bpr"`. Defaults to `"softmax"`;
            `"bce"` is better where rows have many true items.
        negatives: int. Of the sampled kind. Defaults to `100`.
        events_per_row: float. Mean number of true items of a row. Defaults to `1.0`.
        seed: int or `None`. Of the sampling.

    Call arguments:
        y_true: Tensor of shape `[..., T]`, items chosen, filled up with -1; or `[..., T, 2]`, the
            items and beside each its weight.
        y_pred: Tensor of shape `[..., Y]`, scores.

    Example:

    >>> loss = TargetLoss()(np.array([[0, -1]]), np.zeros((1, 2), "float32"))
    >>> round(float(loss), 3)
    0.693

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

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        weights = None
        if len(y_true.shape) > len(y_pred.shape):
            y_true, weights = y_true[..., 0], ops.cast(y_true[..., 1], y_pred.dtype)
        y_true = ops.cast(y_true, "int32")
        counted = ops.cast(y_true >= 0, y_pred.dtype)
        if weights is not None:
            counted = counted * weights
        others = 0.0
        if self.kind == "bce":
            share = min(0.5, self.events_per_row / y_pred.shape[-1])
            y_pred = y_pred + math.log(share / (1.0 - share))
            unchosen = ops.where(_chosen(y_true, y_pred), 0.0, ops.softplus(y_pred))
            others = ops.sum(unchosen, axis=-1)
        true_scores = ops.take_along_axis(y_pred, ops.maximum(y_true, 0), axis=-1)  # [..., T]
        if self.kind == "softmax":
            losses = ops.logsumexp(y_pred, axis=-1, keepdims=True) - true_scores
        elif self.kind == "bce":
            losses = ops.softplus(-true_scores)
        else:
            losses = self._against_drawn(y_true, y_pred, true_scores)
        return (ops.sum(losses * counted, axis=-1) + others) / self.events_per_row

    def _against_drawn(self, y_true, y_pred, true_scores):
        """The losses of the true items against negatives that are drawn, `[..., T]`."""
        items, is_true = ops.shape(y_pred)[-1], _chosen(y_true, y_pred)
        if self.kind == "bpr":
            # One for each true item; one for the batch would be one item's gradient.
            shape = ops.shape(true_scores)
            drawn = keras.random.randint(shape, 0, items, seed=self.seed_generator)
            losses = ops.softplus(ops.take_along_axis(y_pred, drawn, axis=-1) - true_scores)
            return ops.where(ops.take_along_axis(is_true, drawn, axis=-1), 0.0, losses)
        drawn = keras.random.randint((self.negatives,), 0, items, seed=self.seed_generator)
        scores = ops.take(y_pred, drawn, axis=-1)  # [..., S]
        scores = ops.where(ops.take(is_true, drawn, axis=-1), -1e9, scores)
        return ops.softplus(ops.logsumexp(scores, axis=-1, keepdims=True) - true_scores)

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "kind": self.kind,
            "negatives": self.negatives,
            "events_per_row": self.events_per_row,
            "seed": self.seed,
        }


def _chosen(y_true, y_pred):
    """Whether each item is among a row's true ones, bool `[..., Y]`."""
    shape = ops.shape(y_pred)
    items = ops.reshape(y_true, (-1, y_true.shape[-1]))  # [N, T]
    rows = ops.broadcast_to(ops.arange(ops.shape(items)[0])[:, None], ops.shape(items))
    places = ops.reshape(ops.stack([rows, ops.maximum(items, 0)], axis=-1), (-1, 2))
    counted = ops.reshape(ops.cast(items >= 0, "int32"), (-1,))
    counts = ops.scatter(places, counted, (ops.shape(items)[0], shape[-1]))
    return ops.reshape(counts > 0, shape)
