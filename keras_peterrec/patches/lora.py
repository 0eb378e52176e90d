"""LoRA: a low-rank change of every linear map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_peterrec.errors import check_count
from keras_peterrec.network.network import LINEAR, Site
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.types import DType, Json, Shape, Tensor, Variables


@dataclass(frozen=True)
class Lora(PatchMethod):
    """A low-rank change of every linear map. It can be merged into the host.

    In a short name: `lora`, `lora:8`, `lora:8,blocks=7/8`.

    Args:
        rank: int. r. Defaults to `4`, which has about as many parameters as the default
            bottleneck at 64 channels.
        blocks: sequence of int, int or `None`. See `PatchMethod`. Defaults to `None`.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> get_patch("lora:8") == Lora(rank=8)
    True

    Source: Hu et al., "LoRA", ICLR 2022; see `LoraPatch`.
    """

    rank: int = 4

    number: ClassVar[str] = "rank"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rank", self.rank)

    def patches_of(
        self, sites: Mapping[str, Site], index: int, dtype: DType
    ) -> dict[str, PatchLayer]:
        return {
            name: LoraPatch(self.rank, site.seen, name=name, dtype=dtype)
            for name, site in sites.items()
            if site.kind == LINEAR
        }


@keras.saving.register_keras_serializable("keras_peterrec")
class LoraPatch(PatchLayer):
    """Adds a low-rank linear map to the one before the site.

        outputs + U · D · seen,   D: [M, r],  U: [r, C]

    `seen` is what the kernel of that map reads, which may be several events side by side. A
    kernel changed by `D · U` would give the same, so the patch is affine. `U` starts at zero, so a
    new patch does not change the outputs.

    Args:
        rank: int. r.
        seen: int. M, `Site.seen`.

    Raises:
        InputError: `rank` or `seen` is not a positive integer.

    Source: Hu et al., "LoRA", ICLR 2022, section 4.1, without its factor α/r.
    """

    fold_kinds = (LINEAR,)

    def __init__(self, rank: int, seen: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = check_count("rank", rank)
        self.seen = check_count("seen", seen)

    def build(self, inputs_shape: Shape, outputs_shape: Shape) -> None:
        self.add_weight(
            name="down_kernel",
            shape=(self.seen, self.rank),
            initializer=keras.initializers.RandomNormal(stddev=self.seen**-0.5),
        )
        self.add_weight(name="up_kernel", shape=(self.rank, outputs_shape[-1]), initializer="zeros")

    def apply(
        self,
        weights: Variables,
        inputs: Tensor,
        outputs: Tensor,
        seen: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        narrow = ops.matmul(seen(), weights["down_kernel"])
        return outputs + ops.matmul(narrow, weights["up_kernel"])

    def fold(self, weights: Variables, layer: Variables) -> Variables:
        change = weights["down_kernel"] @ weights["up_kernel"]
        return {**layer, "kernel": layer["kernel"] + np.reshape(change, layer["kernel"].shape)}

    def get_config(self) -> Json:
        return {**super().get_config(), "rank": self.rank, "seen": self.seen}
