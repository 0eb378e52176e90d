"""A table of a field that a task reads and its host does not."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_peterrec.errors import check_count
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.types import Json, Shape, Tensor, Variables


@keras.saving.register_keras_serializable("keras_peterrec")
class FieldTable(PatchLayer):
    """Adds a vector for each value of a field to the events' vectors.

    It starts at zero, so a new task reads events as the host does.

    Args:
        rows: int. R, how many numbers the field has; see `EventFields.sizes`.

    Call arguments:
        inputs: Integer tensor of shape `[B, L]`, the field's number of each event.
        outputs: Tensor of shape `[B, L, C]`.

    Returns:
        Tensor of shape `[B, L, C]`.
    """

    item_tables = ("embeddings",)

    def __init__(self, rows: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = check_count("rows", rows)

    def build(self, inputs_shape: Shape, outputs_shape: Shape) -> None:
        shape = (self.rows, outputs_shape[-1])
        self.add_weight(name="embeddings", shape=shape, initializer="zeros")

    def apply(
        self,
        weights: Variables,
        inputs: Tensor,
        outputs: Tensor,
        seen: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        return ops.add(outputs, weights["embeddings"])

    def get_config(self) -> Json:
        return {**super().get_config(), "rows": self.rows}
