"""Softmax cross-entropy over all items, a chunk of rows at a time."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.errors import check_count, refuse
from keras_peterrec.types import Json, Shape, Tensor

# Measured (C = 64, two cores): with more than 400 rows the scores of a chunk no longer
# fit the cache; 2^23 scores are 32 MB. With fewer rows there are more chunks, and each
# adds to the table's whole gradient.
MOST_ROWS = 400
MOST_SCORES = 2**23


def target_weights(sample_weight: Tensor | None, targets: Tensor) -> Tensor:
    """Weights of samples as those of their targets, float32 of the shape of `targets`.

    Args:
        sample_weight: Tensor `[B, L]`, or `[B]` or `[B, 1]` for whole rows.
        targets: Integer tensor `[B, L]`.
    """
    weights = ops.cast(sample_weight, "float32")
    if len(weights.shape) == 1:
        weights = weights[:, None]
    return ops.broadcast_to(weights, ops.shape(targets))


@keras.saving.register_keras_serializable("keras_peterrec")
class FullSoftmax(keras.layers.Layer):
    """Sum of the cross-entropies of the true items, without holding all scores `[N, V]`.

    With `s = states · tableᵀ`, the loss of a row with target t is

        (1 - ε) · (logsumexp(s) - s_t) + ε · (logsumexp(s) - mean(s)),

    where ε is the label smoothing. The rows are processed in chunks. Since the result is
    a sum, the gradients of a chunk are computed together with its loss: the same three
    matrix products as in the plain form, but only one chunk's scores in memory. The
    products have the type of `states`; the losses, and the sum of the table's gradient,
    are float32.

    Args:
        label_smoothing: float. Probability ε spread over all items. Defaults to
            `0.0`.
        chunk_rows: int or `None`. The most rows of a chunk. Defaults to `None`: 400,
            or fewer where their scores would take more than 32 MB.

    Call arguments:
        states: Tensor of shape `[N, C]`.
        targets: Integer tensor of shape `[N]`, rows of the table; -1 is not counted.
        table: Tensor of shape `[V, C]`.
        weights: Tensor of shape `[N]` or `None`. How much each row's loss counts in the sum.
            Defaults to `None`, all alike.
        training: bool. `False` computes the loss alone, in a third of the time; the
            gradients are still computed if they are asked for. Defaults to `True`.

    Returns:
        float32 scalar, the sum of the losses of the counted rows.

    Raises:
        InputError: if an argument is out of range.

    Example:

    >>> states, table = np.ones((3, 8)), np.ones((1000, 8))
    >>> float(FullSoftmax()(states, np.array([4, 999, -1]), table))  # 2 · log(1000)
    13.8155...
    """

    def __init__(
        self, label_smoothing: float = 0.0, chunk_rows: int | None = None, **kwargs: Any
    ) -> None:
        # Inputs keep their types: the table's gradient is summed in float32.
        super().__init__(autocast=False, **kwargs)
        if not 0.0 <= label_smoothing < 1.0:
            refuse("label_smoothing", "at least 0 and less than 1", label_smoothing)
        self.label_smoothing = label_smoothing
        self.chunk_rows = None if chunk_rows is None else check_count("chunk_rows", chunk_rows)

    def call(
        self,
        states: Tensor,
        targets: Tensor,
        table: Tensor,
        weights: Tensor | None = None,
        training: bool | None = True,
    ) -> Tensor:
        states = ops.convert_to_tensor(states)
        table = ops.reshape(table, table.shape)  # reads it here, if it is a variable
        rows = [ops.cast(targets, "int32")]
        if weights is not None:
            rows.append(ops.cast(weights, "float32"))

        @ops.custom_gradient
        def total(states, table):
            if training is False:
                loss, gradients = self._loss(states, rows, table), None
            else:
                loss, *gradients = self._loss_and_gradients(states, rows, table)

            def gradient(*arguments, upstream=None):
                upstream = arguments[0] if upstream is None else upstream
                d_states, d_table = gradients or self._loss_and_gradients(states, rows, table)[1:]
                return (
                    ops.cast(upstream * d_states, states.dtype),
                    ops.cast(upstream * d_table, table.dtype),
                )

            return loss, gradient

        return total(states, table)

    def _loss(self, states, rows, table):
        states, *rows = self._chunks(states, rows, table.shape[0])
        table = ops.cast(table, states.dtype)

        def add(chunk, loss):
            of_chunk = [part[chunk] for part in rows]
            return loss + self._chunk_loss(states[chunk], table, *of_chunk)[0]

        return ops.fori_loop(0, ops.shape(states)[0], add, ops.zeros((), "float32"))

    def _loss_and_gradients(self, states, rows, table):
        """Returns the scalar loss and its gradients `[N, C]` and `[V, C]`, all float32."""
        count, (items, channels) = ops.shape(states)[0], table.shape
        states, *rows = self._chunks(states, rows, items)
        table = ops.cast(table, states.dtype)
        # Transposed once, so that the compiler multiplies without transposing: twice as fast.
        transposed_states = ops.transpose(states, (0, 2, 1))

        def add(chunk, sums):
            loss, d_states, d_table = sums  # [], [chunks, n, C], [C, V]
            of_chunk = [part[chunk] for part in rows]
            chunk_loss, d_scores = self._chunk_loss(states[chunk], table, *of_chunk)
            d_chunk = ops.cast(ops.matmul(d_scores, table), "float32")
            d_states = ops.slice_update(d_states, (chunk, 0, 0), ops.expand_dims(d_chunk, 0))
            product = ops.matmul(transposed_states[chunk], d_scores)
            return loss + chunk_loss, d_states, d_table + ops.cast(product, "float32")

        nothing = (
            ops.zeros((), "float32"),
            ops.zeros(ops.shape(states), "float32"),
            ops.zeros((channels, items), "float32"),
        )
        loss, d_states, d_table = ops.fori_loop(0, ops.shape(states)[0], add, nothing)
        d_states = ops.reshape(d_states, (-1, channels))[:count]
        return loss, d_states, ops.transpose(d_table)

    def _chunks(self, states, rows, items):
        """Returns `[chunks, n, C]` and, of targets and weights, `[chunks, n]` each.

        They are padded with rows that do not count.
        """
        count = ops.shape(states)[0]
        most = self.chunk_rows or max(1, min(MOST_ROWS, MOST_SCORES // items))
        chunks = -(-count // most)
        size = -(-count // chunks)
        missing = chunks * size - count
        if not isinstance(missing, int) or missing:
            states = ops.pad(states, ((0, missing), (0, 0)))
            rows = [ops.pad(part, ((0, missing),), constant_values=-1) for part in rows]
        return (
            ops.reshape(states, (chunks, size, states.shape[-1])),
            *(ops.reshape(part, (chunks, size)) for part in rows),
        )

    def _chunk_loss(self, states, table, targets, weights=None):
        """Returns the sum of the losses of `states [n, C]` and its gradient by the scores."""
        scores = ops.cast(ops.matmul(states, ops.transpose(table)), "float32")
        # A product of its own: taken from the scores, it would keep them in memory.
        true_rows = ops.take(table, ops.maximum(targets, 0), axis=0)
        true = ops.cast(states, "float32") * ops.cast(true_rows, "float32")
        true = ops.sum(true, axis=-1, keepdims=True)
        targets = ops.expand_dims(targets, -1)
        counted = ops.cast(targets >= 0, "float32")  # [n, 1]
        if weights is not None:
            counted = counted * ops.expand_dims(weights, -1)
        largest = ops.max(scores, axis=-1, keepdims=True)
        powers = ops.exp(scores - largest)
        total = ops.sum(powers, axis=-1, keepdims=True)
        losses = ops.log(total) + largest - (1 - self.label_smoothing) * true
        is_true = ops.cast(ops.arange(table.shape[0]) == targets, "float32")
        if weights is not None:
            is_true = is_true * counted
        d_scores = powers * (counted / total) - (1 - self.label_smoothing) * is_true
        if self.label_smoothing:
            losses = losses - self.label_smoothing * ops.mean(scores, axis=-1, keepdims=True)
            d_scores = d_scores - self.label_smoothing / table.shape[0] * counted
        return ops.sum(losses * counted), ops.cast(d_scores, states.dtype)

    def compute_output_shape(
        self,
        states_shape: Shape,
        targets_shape: Shape,
        table_shape: Shape,
        weights_shape: Shape | None = None,
    ) -> Shape:
        return ()

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "chunk_rows": self.chunk_rows,
        }
