"""Settings of the methods that scale and shift: all can be merged into the host."""

from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.layers.sites import CONVOLUTION_SITES, NORM_SITES
from keras_peterrec.patches.patch_method import PatchMethod


@dataclass(frozen=True)
class AffineMethod(PatchMethod):
    """Scales, shifts or both at the same sites of every block. See its subclasses."""

    sites: ClassVar[tuple] = ()
    scale: ClassVar[bool] = True
    shift: ClassVar[bool] = True

    def patches_of(self, block, index, dtype):
        # Imported here so that settings can be read without loading Keras.
        from keras_peterrec.patches.affine_patch import AffinePatch

        return {
            site: AffinePatch(self.scale, self.shift, name=site, dtype=dtype) for site in self.sites
        }


@dataclass(frozen=True)
class Ia3(AffineMethod):
    """A scale of every convolution's outputs.

    Source: Liu et al., "Few-shot parameter-efficient fine-tuning is better and cheaper
    than in-context learning", NeurIPS 2022, section 3.3, whose scales of keys, values
    and hidden units have their counterpart here.
    """

    sites: ClassVar[tuple] = CONVOLUTION_SITES
    shift: ClassVar[bool] = False


@dataclass(frozen=True)
class ScaleShift(AffineMethod):
    """A scale and a shift after every convolution and every normalisation.

    Source: Lian et al., "Scaling and shifting your features" (SSF), NeurIPS 2022.
    """

    sites: ClassVar[tuple] = CONVOLUTION_SITES + NORM_SITES


@dataclass(frozen=True)
class BiasTuning(AffineMethod):
    """A new bias for every convolution and every normalisation.

    Source: Ben Zaken et al., "BitFit", ACL 2022.
    """

    sites: ClassVar[tuple] = CONVOLUTION_SITES + NORM_SITES
    scale: ClassVar[bool] = False


@dataclass(frozen=True)
class NormTuning(AffineMethod):
    """A new γ and β for every normalisation, as a factor and a sum of the host's.

    Source: Zhao et al., "Tuning LayerNorm in attention", ICLR 2024.
    """

    sites: ClassVar[tuple] = NORM_SITES
