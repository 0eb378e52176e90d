"""What padding says of a row: which positions are real, and where sequences end."""

import keras
from keras import ops

from keras_peterrec.log.vocabulary import PAD
from keras_peterrec.types import Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class PaddingMask(keras.layers.Layer):
    """One at real positions and zero at padding, as a factor for `[B, L, C]`.

    Keras' own masks stop silently at layers that do not pass them on, `Conv1D`
    among them; this one is handed from layer to layer.

    Call arguments:
        ids: Integer tensor of shape `[B, L]`; 0 is padding.

    Returns:
        Tensor of shape `[B, L, 1]` in the layer's compute dtype.

    Example:

    >>> mask = PaddingMask()(np.array([[0, 7, 5]]))
    >>> keras.ops.convert_to_numpy(mask)[..., 0].tolist()
    [[0.0, 1.0, 1.0]]
    """

    def call(self, ids: Tensor) -> Tensor:
        return ops.expand_dims(ops.cast(ids != PAD, self.compute_dtype), -1)

    def compute_output_spec(self, ids: Tensor) -> Tensor:
        return keras.KerasTensor((*ids.shape, 1), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("keras_peterrec")
class SequenceIds(keras.layers.Layer):
    """Numbers the sequences of each row; each padding position starts a new one.

    A row may hold several sequences with padding between them. Two positions with
    the same number have no padding between them, except perhaps the padding that
    started their sequence, and padding is zero. So a layer that reads only
    positions of its own number never looks into another sequence.

    Call arguments:
        ids: Integer tensor of shape `[B, L]`; 0 is padding.

    Returns:
        int32 tensor of shape `[B, L]`.

    Example:

    >>> numbers = SequenceIds()(np.array([[0, 7, 5, 0, 9]]))
    >>> keras.ops.convert_to_numpy(numbers).tolist()
    [[1, 1, 1, 2, 2]]
    """

    def call(self, ids: Tensor) -> Tensor:
        return ops.cumsum(ops.cast(ids == PAD, "int32"), axis=1)

    def compute_output_spec(self, ids: Tensor) -> Tensor:
        return keras.KerasTensor(ids.shape, dtype="int32")
