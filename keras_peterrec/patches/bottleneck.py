"""PeterRec's model patch: a bottleneck at the sites of an insertion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import keras
from keras import ops

from keras_peterrec.errors import Misfit, check_count, refuse
from keras_peterrec.network.network import ACTIVATION, BRANCH, LINEAR, Network, Site
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.types import DType, Json, Shape, Tensor, Variables


@dataclass(frozen=True)
class Insertion:
    """Where in a block a bottleneck acts, and what it reads.

    Args:
        name: str. Its name in `INSERTIONS`.
        kinds: tuple of str. The kinds of its sites; see `Site`.
        parallel: bool. `True`: the patch reads what the layer before the site read.
            `False`: it reads what comes out at the site (in series).
    """

    name: str
    kinds: tuple[str, ...]
    parallel: bool


# The four of the paper's Fig. 3. `parallel_after_activation`, its (e), is bad because its
# sums mix with the residual sum. It is kept for the ablation.
INSERTIONS = {
    insertion.name: insertion
    for insertion in (
        Insertion("serial", (LINEAR,), parallel=False),
        Insertion("serial_single", (BRANCH,), parallel=False),
        Insertion("parallel", (LINEAR,), parallel=True),
        Insertion("parallel_after_activation", (ACTIVATION, BRANCH), parallel=True),
    )
}


@dataclass(frozen=True)
class Bottleneck(PatchMethod):
    """PeterRec's model patch: a small two-layer network at each site of an insertion.

    In a short name: `bottleneck`, `bottleneck:8`, `bottleneck:8,serial,inner_skip`,
    `bottleneck:4/8,blocks=7/8`.

    Args:
        width: int, sequence of int or `None`. Width K of the bottleneck, or one width for
            each block that is patched. Defaults to `None`, an eighth of the host's channels,
            as in the paper (K = 32 at C = 256).
        insertion: str. Where the patches act; one of `INSERTIONS`. Defaults to `"parallel"`.
        inner_skip: bool. Whether the patch has a skip of its own; see `BottleneckPatch`.
            Defaults to `False`.
        blocks: sequence of int, int or `None`. See `PatchMethod`. Defaults to `None`.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> Bottleneck(width=8, insertion="serial").replace(width=4).width
    4
    >>> Bottleneck(width=(4, 8), blocks=(7, 8)).width  # the last two of eight blocks
    (4, 8)

    Source: Yuan et al., SIGIR 2020, section 3.4 and Fig. 3.
    """

    width: int | tuple[int, ...] | None = None
    insertion: str = "parallel"
    inner_skip: bool = False

    number: ClassVar[str] = "width"
    words: ClassVar[dict[str, str]] = dict.fromkeys(INSERTIONS, "insertion")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.width, (list, tuple)):
            object.__setattr__(self, "width", tuple(self.width))
        for width in () if self.width is None else self._widths():
            check_count("width", width)
        if self.insertion not in INSERTIONS:
            refuse("insertion", f"one of {', '.join(INSERTIONS)}", self.insertion)

    def for_host(self, host: Network) -> Self:
        super().for_host(host)
        patched = len(host.sites if self.blocks is None else self.blocks)
        if isinstance(self.width, tuple) and len(self.width) != patched:
            raise Misfit(
                f"`width` should be one width, or one for each of {patched} patched blocks. "
                f"Received: `width` = {self.width}."
            )
        return self if self.width else self.replace(width=max(1, host.hidden_dim // 8))

    def width_at(self, index: int) -> int:
        """The width in block `index`, counted from 1."""
        if not isinstance(self.width, tuple):
            return self.width
        return self.width[index - 1 if self.blocks is None else self.blocks.index(index)]

    def patches_of(
        self, sites: Mapping[str, Site], index: int, dtype: DType
    ) -> dict[str, PatchLayer]:
        insertion = INSERTIONS[self.insertion]
        return {
            name: self.patch(self.width_at(index), insertion.parallel, name=name, dtype=dtype)
            for name, site in sites.items()
            if site.kind in insertion.kinds
        }

    def patch(self, width: int, parallel: bool, **arguments: Any) -> "BottleneckPatch":
        """Makes one patch layer."""
        return BottleneckPatch(width, parallel, self.inner_skip, **arguments)

    def _widths(self):
        return self.width if isinstance(self.width, tuple) else (self.width,)


@keras.saving.register_keras_serializable("keras_peterrec")
class BottleneckPatch(PatchLayer):
    """A small two-layer network beside or behind a frozen layer.

        M(z) = W_up · gelu(W_down z + b_down) + b_up          (+ z if `inner_skip`)
        outputs + M(z),   z = inputs if `parallel` else outputs

    (gelu by tanh, as in the official code.) `W_up` and `b_up` start at zero, so a new patch
    does not change the outputs.

    Args:
        width: int. Width K.
        parallel: bool. Whether M reads the inputs of the frozen layer (in parallel) or its
            outputs (in series). Defaults to `True`.
        inner_skip: bool. Whether M has a skip of its own, as in the paper. In parallel, it
            changes what the host computes from the first step; in series, it doubles the
            outputs. Defaults to `False`.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`. What the frozen layer read.
        outputs: Tensor of shape `[B, L, C]`. What it gave.

    Returns:
        Tensor of shape `[B, L, C]`.

    Raises:
        InputError: `width` is not a positive integer.

    Source: Yuan et al., SIGIR 2020, section 3.4 and Fig. 3(f).
    """

    def __init__(
        self, width: int, parallel: bool = True, inner_skip: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_count("width", width)
        self.width = width
        self.parallel = parallel
        self.inner_skip = inner_skip

    def build(self, inputs_shape: Shape, outputs_shape: Shape) -> None:
        channels = outputs_shape[-1]
        read = inputs_shape[-1] if self.parallel else channels
        self.add_weight(name="down_kernel", shape=(read, self.width), initializer="he_normal")
        self.add_weight(name="down_bias", shape=(self.width,), initializer="zeros")
        self.add_weight(name="up_kernel", shape=(self.width, channels), initializer="zeros")
        self.add_weight(name="up_bias", shape=(channels,), initializer="zeros")

    def apply(
        self,
        weights: Variables,
        inputs: Tensor,
        outputs: Tensor,
        seen: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        read = inputs if self.parallel else outputs
        down_kernel, up_kernel = self.kernels(weights)
        narrow = ops.gelu(ops.matmul(read, down_kernel) + weights["down_bias"])
        change = ops.matmul(narrow, up_kernel) + weights["up_bias"]
        if self.inner_skip:
            change = change + read
        return outputs + change

    def kernels(self, weights: dict[str, Any]) -> tuple[Any, Any]:
        """`W_down`, `[..., C, K]`, and `W_up`, `[..., K, C]`."""
        return weights["down_kernel"], weights["up_kernel"]

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "width": self.width,
            "parallel": self.parallel,
            "inner_skip": self.inner_skip,
        }
