"""LoRA: a low-rank change of every dilated convolution."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import ops

from keras_peterrec.errors import check_count
from keras_peterrec.layers.dilated_convolution import Taps
from keras_peterrec.layers.residual_block import CONVOLUTION_SITES
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod


@dataclass(frozen=True)
class Lora(PatchMethod):
    """A low-rank change of every dilated convolution. It can be merged into the host.

    In a short name: `lora`, `lora:8`, `lora:8,blocks=7/8`.

    Args:
        rank: int. r. Defaults to `4`, which has about as many parameters as the default
            bottleneck at 64 channels.
        blocks: sequence of int, int or `None`. See `PatchMethod`. Defaults to `None`.

    Raises:
        InputError: an argument is not allowed.

    Source: Hu et al., "LoRA", ICLR 2022; see `LoraPatch`.
    """

    rank: int = 4

    number: ClassVar[str] = "rank"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rank", self.rank)

    def patches_of(self, block, index, dtype):
        return {
            site: LoraPatch(
                self.rank,
                convolution.kernel_size,
                convolution.dilation_rate,
                convolution.causal,
                name=site,
                dtype=dtype,
            )
            for site, convolution in zip(CONVOLUTION_SITES, block.convolutions)
        }


@keras.saving.register_keras_serializable("keras_peterrec")
class LoraPatch(PatchLayer):
    """Adds a low-rank convolution to the convolution before the site.

        outputs + U · Σ_tap D_tap · inputs[tap],   D: [k, C, r],  U: [r, C]

    A kernel changed by `D_tap · U` would give the same, so the patch is affine. `U` starts at
    zero, so a new patch does not change the outputs.

    Args:
        rank: int. r.
        kernel_size: int. k of the convolution. Defaults to `3`.
        dilation_rate: int. Dilation of the convolution. Defaults to `1`.
        causal: bool. Whether the convolution is causal. Defaults to `True`.

    Raises:
        InputError: `rank` is not a positive integer.

    Source: Hu et al., "LoRA", ICLR 2022, section 4.1, without its factor α/r.
    """

    fold_sites = CONVOLUTION_SITES

    def __init__(
        self,
        rank: int,
        kernel_size: int = 3,
        dilation_rate: int = 1,
        causal: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_count("rank", rank)
        self.rank = rank
        self.kernel_size = kernel_size
        self.dilation_rate = dilation_rate
        self.causal = causal

    def build(self, inputs_shape, outputs_shape):
        read = inputs_shape[-1]
        # As in a dense layer that reads all taps side by side.
        self.add_weight(
            name="down_kernel",
            shape=(self.kernel_size, read, self.rank),
            initializer=keras.initializers.RandomNormal(stddev=(self.kernel_size * read) ** -0.5),
        )
        self.add_weight(name="up_kernel", shape=(self.rank, outputs_shape[-1]), initializer="zeros")

    def apply(self, weights, inputs, outputs):
        seen = Taps(self.kernel_size, self.dilation_rate, self.causal).side_by_side(inputs)
        return self.apply_step(weights, inputs, seen, outputs)

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
