"""Settings of the LoRA method."""

from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.layers.sites import CONVOLUTION_SITES
from keras_peterrec.patches.patch_method import PatchMethod, check_positive


@dataclass(frozen=True)
class Lora(PatchMethod):
    """A change of low rank of every dilated convolution; can be merged into the host.

    Args:
        rank: int. r. Defaults to `4`, about as many parameters as the default bottleneck
            at 64 channels.
        blocks: See `PatchMethod`.

    Source: Hu et al., "LoRA", ICLR 2022; see `LowRankPatch`.
    """

    rank: int = 4

    number: ClassVar[str] = "rank"

    def __post_init__(self):
        super().__post_init__()
        check_positive("rank", self.rank)

    def patches_of(self, block, index, dtype):
        from keras_peterrec.patches.low_rank_patch import LowRankPatch

        return {
            site: LowRankPatch(
                self.rank,
                convolution.kernel_size,
                convolution.dilation_rate,
                convolution.causal,
                name=site,
                dtype=dtype,
            )
            for site, convolution in zip(CONVOLUTION_SITES, block.convolutions)
        }
