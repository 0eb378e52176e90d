"""What the values of items' fields add to the items' vectors while a host is trained."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.log.item_fields import ItemFields
from keras_peterrec.types import Shape, Tensor

HIDDEN = 0.1  # share of the items that training shows without their own vector


class ItemFieldVectors(keras.layers.Layer):
    """The sum over an item's fields of the mean vector of its values.

        f_i = Σ_n shares[i, n] · H[values[i, n]] + vectors[i] · P

    An item's vector is its own plus this, so that items that come up rarely borrow from their kind.
    Once a host is trained the sums are its table, and of this layer what items that come later need
    is left; see `Pretrainer.fold_item_fields`.

    Args:
        fields: ItemFields.
        channels: int. C.

    Call arguments:
        ids: Integer tensor `[...]` of ids.

    Returns:
        Tensor `[..., C]`.
    """

    def __init__(self, fields: ItemFields, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.channels = fields.count, channels
        self.table = self.add_weight(
            name="table",
            shape=(1 + self.count, channels),
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
        self.values, self.shares = fixed("values", fields.values), fixed("shares", fields.shares)
        # Without its own vector, what is told of an item must do, as for one that comes later.
        self.hide = keras.layers.Dropout(HIDDEN, name="hide")
        self.vectors = None
        if size := fields.vectors.shape[1]:
            self.vectors = fixed("vectors", fields.vectors)
            self.projection = self.add_weight(
                name="projection",
                shape=(size, channels),
                initializer=keras.initializers.RandomNormal(stddev=0.3 * (size * channels) ** -0.5),
            )
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
        """Items' own vectors `[..., C]`, a tenth of which training hides, with these added."""
        kept = self.hide(ops.ones_like(own[..., :1]), training=training)
        return own * kept + ops.cast(self(ids), own.dtype)

    def all(self) -> Tensor:
        """The vectors of all ids, `[V, C]`."""
        return self(self.ids)

    @property
    def ids(self) -> Tensor:
        """All ids, `[V]`."""
        return ops.arange(self.values.shape[0], dtype="int32")

    def form(self) -> object:
        """What `form_of` compares."""
        return self.count, self.channels, self.values, self.vectors

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.channels)
