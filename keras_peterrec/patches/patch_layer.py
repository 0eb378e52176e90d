"""The base class of the layers that act at the sites of the host."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_peterrec.types import Shape, Tensor


class PatchLayer(keras.layers.Layer):
    """A small layer at one site of the host: `patch(inputs, outputs, seen=...) -> outputs`.

    A subclass makes its weights in `build` and uses them in `apply`. The weights are an
    argument of `apply`, so that one pass can use the weights of another task in each row: a
    matrix may come as `[..., M, N]` or `[B, ..., M, N]`, a vector as `[N]` or `[B, 1, N]`,
    and `apply` should be right for both. A new patch must not change the outputs.

    At the embedded items (`TABLE`) the inputs are item ids and the outputs their rows of the host's
    item table. Weights named in `item_tables` are then tables of items, `[R, M]`, and `apply` gets
    the rows of the items, `[B, L, M]`, in their place; see `item_rows`.

    An *affine* patch can be folded into the layer before a site whose kind is named in
    `fold_kinds`.

    Call arguments:
        inputs: Tensor of shape `[..., C]`. What the layer before the site read at the positions; at
            the embedded items, item ids `[B, L]`.
        outputs: Tensor of shape `[..., C]`. What came out at the site.
        seen: callable or `None`. Gives what the kernel of that layer saw, `[..., Site.seen]`; at
            the embedded items `None`.

    Returns:
        Tensor of the shape of `outputs`.

    Example:

    >>> isinstance(AffinePatch(), PatchLayer)
    True
    """

    # In a subclass an attribute of the class, or a property.
    fold_kinds: Any = ()  # sequence of str
    item_tables: Any = ()  # sequence of str

    def apply(
        self, weights: dict[str, Any], inputs: Tensor, outputs: Tensor, seen: Callable | None = None
    ) -> Tensor:
        """Returns `outputs` as changed by `weights`, which have the names of `named_weights`."""
        raise NotImplementedError

    def named_weights(self) -> dict[str, Any]:
        """The patch's weights by name. The names are the same in every process."""
        return {weight.name: weight for weight in self.weights}

    def fold(self, weights: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
        """Folds an affine patch into the layer before the site.

        Args:
            weights: dict of arrays. The patch's weights by name.
            layer: dict of arrays. `kernel` `[..., C]` and `bias` `[C]` of a linear map,
                `gamma` and `beta` `[C]` of a normalisation, or `embeddings` `[V, C]`.

        Returns:
            dict like `layer`, with the values that give the same outputs without the patch.
        """
        raise NotImplementedError

    def call(
        self, inputs: Tensor, outputs: Tensor, seen: Callable[[], Tensor] | None = None
    ) -> Tensor:
        weights = self.named_weights()
        weights |= {name: item_rows(weights[name], inputs) for name in self.item_tables}
        return with_weights(self.apply, weights)(inputs, outputs, seen)

    def compute_output_shape(self, inputs_shape: Shape, outputs_shape: Shape) -> Shape:
        return outputs_shape


def item_rows(table: Tensor, ids: Tensor, place: Tensor | None = None) -> Tensor:
    """The rows of items in a patch's table; zeros for items that the table does not have.

    Args:
        table: Tensor of shape `[R, M]`, or with `place` `[T, R, M]`, a table of each task.
        ids: Integer tensor of shape `[B, L]`.
        place: Integer tensor of shape `[B]`, the task of each row, or `None`.

    Returns:
        Tensor of shape `[B, L, M]`.
    """
    *_, count, width = table.shape
    in_table = ids < count
    rows = ops.where(in_table, ids, 0)
    if place is not None:
        rows = rows + count * ops.expand_dims(place, 1)
        table = ops.reshape(table, (-1, width))
    of_items = ops.take(table, rows, axis=0)
    return of_items * ops.cast(ops.expand_dims(in_table, -1), of_items.dtype)


def with_weights(apply: Callable, weights: dict[str, Any]) -> Callable:
    """Binds weights to a patch's `apply`.

    Args:
        apply: callable. `(weights, inputs, outputs, seen) -> outputs`.
        weights: dict of tensors. They are cast to the type of the outputs.

    Returns:
        callable. `(inputs, outputs, seen=None) -> outputs`.
    """

    def act(inputs, outputs, seen=None):
        cast = {name: ops.cast(weight, outputs.dtype) for name, weight in weights.items()}
        return apply(cast, inputs, outputs, seen)

    return act
