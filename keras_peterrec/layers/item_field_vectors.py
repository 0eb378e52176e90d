"""What the values of items' fields add to the items' vectors while a host is trained."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_peterrec.types import Shape, Tensor


class ItemFieldVectors(keras.layers.Layer):
    """The sum over an item's fields of the mean vector of its values.

        f_i = Σ_n shares[i, n] · H[values[i, n]]

    An item's vector is its own plus this, so that items that come up rarely borrow from their kind.
    Once a host is trained the sums are its table, and this layer is gone; see
    `Pretrainer.fold_item_fields`.

    Args:
        values, shares: arrays `[V, M]`; see `ItemFields`.
        count: int. How many values there are; 0 is none.
        channels: int. C.

    Call arguments:
        ids: Integer tensor `[...]` of ids.

    Returns:
        Tensor `[..., C]`.
    """

    def __init__(
        self, values: np.ndarray, shares: np.ndarray, count: int, channels: int, **kwargs: Any
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
        self.built = True

    def call(self, ids: Tensor) -> Tensor:
        values = ops.take(self.values, ids, axis=0)
        rows = ops.take(ops.convert_to_tensor(self.table), values, axis=0)
        shares = ops.expand_dims(ops.take(ops.convert_to_tensor(self.shares), ids, axis=0), -2)
        return ops.squeeze(ops.matmul(ops.cast(shares, rows.dtype), rows), -2)

    def all(self) -> Tensor:
        """The vectors of all ids, `[V, C]`."""
        return self(ops.arange(self.values.shape[0], dtype="int32"))

    def form(self) -> object:
        """What `form_of` compares."""
        return self.count, self.channels, self.values

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.channels)
