"""A residual block with patches, as a task model runs it."""

import keras


class PatchedBlock:
    """Runs a block with patches that it builds.

    Args:
        block: ResidualBlock, built for `channels`.
        patches: dict from site to PatchLayer.
        channels: int.
    """

    def __init__(self, block, patches, channels):
        self.block, self.patches = block, patches
        for patch in patches.values():
            patch.build((None, None, channels), (None, None, channels))

    def __call__(self, inputs, mask):
        states = self.block(inputs, mask, patches=self.patches)
        return keras.ops.convert_to_numpy(states)
