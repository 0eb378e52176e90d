"""Methods that scale and shift the channels: IA3, scale and shift, bias tuning, norm tuning."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras

from keras_peterrec.errors import InputError
from keras_peterrec.network.network import LINEAR, NORM, Site
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.types import DType, Json, Shape, Tensor, Variables


@dataclass(frozen=True)
class Affine(PatchMethod):
    """Scales, shifts or both at the same sites of every block; see the subclasses.

    All can be merged into the host.

    Args:
        blocks: sequence of int, int or `None`. See `PatchMethod`. Defaults to `None`.
    """

    kinds: ClassVar[tuple[str, ...]] = ()  # of sites
    scale: ClassVar[bool] = True
    shift: ClassVar[bool] = True

    def patches_of(
        self, sites: Mapping[str, Site], index: int, dtype: DType
    ) -> dict[str, PatchLayer]:
        return {
            name: AffinePatch(self.scale, self.shift, name=name, dtype=dtype)
            for name, site in sites.items()
            if site.kind in self.kinds
        }


@dataclass(frozen=True)
class Ia3(Affine):
    """A scale of the outputs of every linear map.

    Example:

    >>> get_patch("ia3") == Ia3()
    True

    Source: Liu et al., "Few-shot parameter-efficient fine-tuning is better and cheaper
    than in-context learning", NeurIPS 2022, section 3.3. It scales keys, values and hidden
    units; here the linear maps of the network take their place.
    """

    kinds: ClassVar[tuple[str, ...]] = (LINEAR,)
    shift: ClassVar[bool] = False


@dataclass(frozen=True)
class ScaleShift(Affine):
    """A scale and a shift after every linear map and every normalisation.

    Example:

    >>> get_patch("scale_shift:blocks=7/8") == ScaleShift(blocks=(7, 8))
    True

    Source: Lian et al., "Scaling and shifting your features" (SSF), NeurIPS 2022.
    """

    kinds: ClassVar[tuple[str, ...]] = (LINEAR, NORM)


@dataclass(frozen=True)
class BiasTuning(Affine):
    """A new bias for every linear map and every normalisation.

    Example:

    >>> get_patch("bias") == BiasTuning()
    True

    Source: Ben Zaken et al., "BitFit", ACL 2022.
    """

    kinds: ClassVar[tuple[str, ...]] = (LINEAR, NORM)
    scale: ClassVar[bool] = False


@dataclass(frozen=True)
class NormTuning(Affine):
    """A new γ and β for every normalisation: a factor and a term added to the host's.

    Example:

    >>> get_patch("norm") == NormTuning()
    True

    Source: Zhao et al., "Tuning LayerNorm in attention", ICLR 2024.
    """

    kinds: ClassVar[tuple[str, ...]] = (NORM,)


@keras.saving.register_keras_serializable("keras_peterrec")
class AffinePatch(PatchLayer):
    """Scales and shifts what comes out at a site, channel by channel.

        outputs · scale + shift

    The scale starts at one and the shift at zero, so a new patch does not change the outputs.
    A linear map or a normalisation can take in both, so the patch is affine.

    Args:
        scale: bool. Whether there is a scale. Defaults to `True`.
        shift: bool. Whether there is a shift. Defaults to `True`.

    Raises:
        InputError: there is neither.

    Example:

    >>> AffinePatch(shift=False)(np.ones((1, 2)), np.ones((1, 2))).shape
    (1, 2)
    """

    fold_kinds = (LINEAR, NORM)

    def __init__(self, scale: bool = True, shift: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not (scale or shift):
            raise InputError(
                "`scale` or `shift` should be True. "
                f"Received: `scale` = {scale!r}, `shift` = {shift!r}."
            )
        self.scale = scale
        self.shift = shift

    def build(self, inputs_shape: Shape, outputs_shape: Shape) -> None:
        if self.scale:
            self.add_weight(name="scale", shape=outputs_shape[-1:], initializer="ones")
        if self.shift:
            self.add_weight(name="shift", shape=outputs_shape[-1:], initializer="zeros")

    def apply(
        self,
        weights: Variables,
        inputs: Tensor,
        outputs: Tensor,
        seen: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        if self.scale:
            outputs = outputs * weights["scale"]
        if self.shift:
            outputs = outputs + weights["shift"]
        return outputs

    def fold(self, weights: Variables, layer: Variables) -> Variables:
        scale, shift = weights.get("scale", 1.0), weights.get("shift", 0.0)
        # The first weight multiplies (kernel or gamma), the second is added (bias or beta).
        (factor, product), (term, value) = layer.items()
        return {factor: product * scale, term: value * scale + shift}

    def get_config(self) -> Json:
        return {**super().get_config(), "scale": self.scale, "shift": self.shift}
