"""Which sequence of a packed row a position belongs to."""

import keras
from keras import ops

from keras_peterrec.data.special_ids import PAD


@keras.saving.register_keras_serializable("keras_peterrec")
class SequenceIds(keras.layers.Layer):
    """Numbers the sequences of each row; a padding position begins the next one.

    A row may hold several sequences with padding between them. Two positions of
    one number have no padding between them but, at most, before the first of
    them, and padding is zero: so a convolution that reads only positions of its
    own number never looks across a border.

    Call arguments:
        ids: Integer tensor of shape `[B, L]`; 0 is padding.

    Returns:
        int32 tensor of shape `[B, L]`.
    """

    def call(self, ids):
        return ops.cumsum(ops.cast(ids == PAD, "int32"), axis=1)

    def compute_output_spec(self, ids):
        return keras.KerasTensor(ids.shape, dtype="int32")
