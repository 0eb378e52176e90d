"""A low-rank change of a dilated convolution's kernel."""

import keras
from keras import ops

from keras_peterrec.layers.sites import CONVOLUTION_SITES
from keras_peterrec.layers.taps import taps
from keras_peterrec.patches.patch_layer import PatchLayer


@keras.saving.register_keras_serializable("keras_peterrec")
class LowRankPatch(PatchLayer):
    """Adds a convolution of low rank to the one before the site.

        outputs + U · Σ_tap D_tap · inputs[tap],   D: [k, C, r],  U: [r, C]

    which is what a kernel changed by `D_tap · U` would give. `U` starts at zero, so a
    new patch changes nothing. It is affine.

    Args:
        rank: int. r.
        kernel_size: int. k of the convolution.
        dilation_rate: int. Of the convolution.
        causal: bool. Of the convolution.

    Source: Hu et al., "LoRA", ICLR 2022, section 4.1, without its factor α/r.
    """

    fold_sites = CONVOLUTION_SITES

    def __init__(self, rank, kernel_size=3, dilation_rate=1, causal=True, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"`rank` should be a positive integer. Received: `rank` = {rank!r}.")
        self.rank = rank
        self.kernel_size = kernel_size
        self.dilation_rate = dilation_rate
        self.causal = causal

    def build(self, inputs_shape, outputs_shape):
        read = inputs_shape[-1]
        # As large as of a layer that reads the taps side by side.
        self.add_weight(
            name="down_kernel",
            shape=(self.kernel_size, read, self.rank),
            initializer=keras.initializers.RandomNormal(stddev=(self.kernel_size * read) ** -0.5),
        )
        self.add_weight(name="up_kernel", shape=(self.rank, outputs_shape[-1]), initializer="zeros")

    def apply(self, weights, inputs, outputs):
        seen, _ = taps(inputs, self.kernel_size, self.dilation_rate, self.causal)
        return self.apply_step(weights, inputs, ops.concatenate(seen, axis=-1), outputs)

    def apply_step(self, weights, inputs, seen, outputs):
        down = weights["down_kernel"]  # [k, C, r] or [B, k, C, r]
        batch = () if len(down.shape) == 3 else (-1,)
        down = ops.reshape(down, (*batch, seen.shape[-1], self.rank))
        narrow = ops.matmul(seen, down)
        return outputs + ops.matmul(narrow, weights["up_kernel"])

    def fold(self, weights, layer):
        change = weights["down_kernel"] @ weights["up_kernel"]  # [k, C, C]
        return {**layer, "kernel": layer["kernel"] + change}

    def get_config(self):
        return {
            **super().get_config(),
            "rank": self.rank,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "causal": self.causal,
        }
