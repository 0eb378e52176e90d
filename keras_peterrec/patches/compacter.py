"""Bottlenecks with fewer parameters: their matrices are sums of Kronecker products."""

from dataclasses import dataclass
from typing import Any, Self

import keras
from keras import ops

from keras_peterrec.errors import Misfit, check_count
from keras_peterrec.network.network import Network
from keras_peterrec.patches.bottleneck import Bottleneck, BottleneckPatch
from keras_peterrec.types import Json, Shape, Tensor, Variables


@dataclass(frozen=True)
class Compacter(Bottleneck):
    """Bottlenecks whose matrices are sums of Kronecker products, with fewer parameters.

    In a short name: `compacter`, `compacter:8`, `compacter:8,factor=2`.

    Args:
        width, insertion, inner_skip, blocks: See `Bottleneck`.
        factor: int. n, the size of the small factors. It must divide the host's channels and
            the width. Defaults to `4`.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> get_patch("compacter:8,factor=2") == Compacter(8, factor=2)
    True

    Source: Mahabadi et al., "Compacter", NeurIPS 2021; see `CompacterPatch`.
    """

    factor: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("factor", self.factor)

    def for_host(self, host: Network) -> Self:
        settings = super().for_host(host)
        if self.width is None:  # the next multiple of the factor
            settings = settings.replace(
                width=-(-settings._widths()[0] // self.factor) * self.factor
            )
        widths = settings._widths()
        if host.hidden_dim % self.factor or any(width % self.factor for width in widths):
            raise Misfit(
                f"`factor` should divide the host's {host.hidden_dim} channels and the width "
                f"{', '.join(map(str, widths))}. Received: `factor` = {self.factor}."
            )
        return settings

    def patch(self, width: int, parallel: bool, **arguments: Any) -> "CompacterPatch":
        return CompacterPatch(width, self.factor, parallel, self.inner_skip, **arguments)


@keras.saving.register_keras_serializable("keras_peterrec")
class CompacterPatch(BottleneckPatch):
    """A bottleneck whose two matrices are sums of Kronecker products.

        W = Σ_i A_i ⊗ (s_i · t_iᵀ),   i = 1 ... n

    A_i has the shape `[n, n]`; for a matrix `[M, N]`, s_i has the length M/n and t_i the
    length N/n. All t_i of `W_up` start at zero, so a new patch does not change the outputs.

    Args:
        width: int. Width K.
        factor: int. n, a divisor of the channels and of K. Defaults to `4`.
        parallel, inner_skip: See `BottleneckPatch`.

    Raises:
        InputError: `width` is not a positive integer, or `factor` does not divide it.

    Source: Mahabadi et al., "Compacter", NeurIPS 2021, section 4. There all layers share the
    A_i; here every patch has its own, so that it does not depend on others.
    """

    def __init__(
        self,
        width: int,
        factor: int = 4,
        parallel: bool = True,
        inner_skip: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(width, parallel, inner_skip, **kwargs)
        check_count("factor", factor)
        if width % factor:
            raise Misfit(f"`factor` should divide `width`, {width}. Received: `factor` = {factor}.")
        self.factor = factor

    def build(self, inputs_shape: Shape, outputs_shape: Shape) -> None:
        channels, factor = outputs_shape[-1], self.factor
        if channels % factor:
            raise Misfit(
                f"`factor` should divide the channels, {channels}. Received: `factor` = {factor}."
            )
        wide, narrow = channels // factor, self.width // factor
        self._add_factors("down", wide, narrow, _normal(wide))
        self._add_factors("up", narrow, wide, "zeros")

    def _add_factors(self, name, rows, columns, initializer):
        n = self.factor
        self.add_weight(name=f"{name}_rule", shape=(n, n, n), initializer=_normal(n))
        self.add_weight(name=f"{name}_rows", shape=(n, rows), initializer=_normal(1))
        self.add_weight(name=f"{name}_columns", shape=(n, columns), initializer=initializer)
        self.add_weight(name=f"{name}_bias", shape=(n * columns,), initializer="zeros")

    def kernels(self, weights: Variables) -> tuple[Tensor, Tensor]:
        return tuple(_sum_of_products(weights, name) for name in ("down", "up"))

    def get_config(self) -> Json:
        return {**super().get_config(), "factor": self.factor}


def _normal(terms):
    """Normal numbers whose sum over so many terms has a variance of one."""
    return keras.initializers.RandomNormal(stddev=terms**-0.5)


def _sum_of_products(weights, name):
    rule, rows, columns = (weights[f"{name}_{part}"] for part in ("rule", "rows", "columns"))
    product = ops.einsum("...inm,...ir,...ic->...nrmc", rule, rows, columns)
    *batch, n, r, m, c = product.shape
    return ops.reshape(product, (*[-1 for _ in batch], n * r, m * c))
