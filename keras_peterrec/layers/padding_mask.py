"""The mask of real positions."""

import keras

from keras_peterrec.data.special_ids import PAD


@keras.saving.register_keras_serializable("keras_peterrec")
class PaddingMask(keras.layers.Layer):
    """One at real positions and zero at padding, as a factor for `[B, L, C]`.

    Keras' own masks stop at layers that do not pass them on (`Conv1D` among
    them), silently; this one is handed from layer to layer.

    Call arguments:
        ids: Integer tensor of shape `[B, L]`; 0 is padding.

    Returns:
        Tensor of shape `[B, L, 1]` in the layer's compute dtype.
    """

    def call(self, ids):
        return keras.ops.expand_dims(keras.ops.cast(ids != PAD, self.compute_dtype), -1)

    def compute_output_spec(self, ids):
        return keras.KerasTensor((*ids.shape, 1), dtype=self.compute_dtype)
