"""A residual block of the host with the patches of one task."""

import keras


@keras.saving.register_keras_serializable("keras_peterrec")
class PatchedBlock(keras.layers.Layer):
    """Runs a residual block of the host with one task's patches at its sites.

    The block is shared with the host and with every other task, and is not
    changed: it is handed this task's patches at each call.

    Args:
        block: ResidualBlock.
        patches: dict from site to patch layer, called as
            `patch(inputs, outputs) -> outputs`.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`.
        padding_mask: Tensor of shape `[B, L, 1]`.

    Returns:
        Tensor of shape `[B, L, C]`.
    """

    def __init__(self, block, patches, **kwargs):
        super().__init__(**kwargs)
        self.block = block
        self.patches = patches

    def build(self, input_shape):
        for patch in self.patches.values():
            if not patch.built:
                patch.build(input_shape, input_shape)

    def call(self, inputs, padding_mask, training=None):
        return self.block(inputs, padding_mask, patches=self.patches, training=training)

    def compute_output_shape(self, input_shape):
        return input_shape
