"""What the values of items' fields add to the items' vectors while a host is trained."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_peterrec.types import Shape, Tensor

HIDDEN = 0.1  # share of the inputs that training shows without the item's own vector


class ItemFieldVectors(keras.layers.Layer):
    """The sum over an item's fields of the mean vector of its values.

        f_i = Σ_n shares[i, n] · H[values[i, n]] + vectors[i] · P

    An item's vector is its own plus this, so that items that come up rarely borrow from their kind.
    Once a host is trained the sums are its table, and this layer is gone; see
    `Pretrainer.fold_item_fields`.

    Args:
        values, shares: arrays `[V, M]`; see `ItemFields`.
        count: int. How many values there are; 0 is none.
        channels: int. C.
        vectors: float array `[V, D]` or `None`. What columns of vectors say of items, such as
            embeddings of texts. Defaults to `None`, nothing.

    Call arguments:
        ids: Integer tensor `[...]` of ids.

    Returns:
        Tensor `[..., C]`.
    """

    def __init__(
        self,
        values: np.ndarray,
        shares: np.ndarray,
        count: int,
        channels: int,
        vectors: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.count, self.channels = count, channels
        self.table = self.add_weight(
            name="table",
            shape=(1 + count, channels),
            # As long as an item's own vector once several values are added up.
            initializer=keras.initializers.RandomNormal(stddev=0.3 * channels**-0.5),
        )
        fixed = lambda name, array: self.add_weight(
            name=name,
            shape=array.shape,
            dtype=str(array.dtype),
            initializer=lambda shape, dtype: ops.convert_to_tensor(array, dtype),
            trainable=False,
        )
        self.values, self.shares = fixed("values", values), fixed("shares", shares)
        self.vectors = self.hide = None
        if vectors is not None and vectors.shape[1]:
            self.vectors = fixed("vectors", vectors)
            size = vectors.shape[1]
            self.projection = self.add_weight(
                name="projection",
                shape=(size, channels),
                initializer=keras.initializers.RandomNormal(stddev=0.3 * (size * channels) ** -0.5),
            )
            # Without its own vector, an item's content alone must do.
            self.hide = keras.layers.Dropout(HIDDEN, noise_shape=(None, None, 1), name="hide")
        self.built = True

    def call(self, ids: Tensor) -> Tensor:
        values = ops.take(self.values, ids, axis=0)
        rows = ops.take(ops.convert_to_tensor(self.table), values, axis=0)
        shares = ops.expand_dims(ops.take(ops.convert_to_tensor(self.shares), ids, axis=0), -2)
        sums = ops.squeeze(ops.matmul(ops.cast(shares, rows.dtype), rows), -2)
        if self.vectors is None:
            return sums
        vectors = ops.take(ops.convert_to_tensor(self.vectors), ids, axis=0)
        return sums + ops.cast(ops.matmul(vectors, self.projection), sums.dtype)

    def beside(self, own: Tensor, ids: Tensor, training: bool | None = None) -> Tensor:
        """Items' own vectors `[B, L, C]` with these of their fields added.

        Where items have vectors of their content, training hides a tenth of their own.
        """
        if self.hide is not None:
            own = self.hide(own, training=training)
        return own + ops.cast(self(ids), own.dtype)

    def all(self) -> Tensor:
        """The vectors of all ids, `[V, C]`."""
        return self(ops.arange(self.values.shape[0], dtype="int32"))

    def form(self) -> object:
        """What `form_of` compares."""
        return self.count, self.channels, self.values, self.vectors

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.channels)
