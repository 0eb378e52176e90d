"""A bottleneck of Kronecker products."""

import keras
from keras import ops

from keras_peterrec.patches.bottleneck_patch import BottleneckPatch


@keras.saving.register_keras_serializable("keras_peterrec")
class KroneckerPatch(BottleneckPatch):
    """A bottleneck whose two matrices are sums of Kronecker products.

        W = Σ_i A_i ⊗ (s_i · t_iᵀ),   i = 1 ... n

    with A_i of shape `[n, n]`, and for a matrix `[M, N]`, s_i of length M/n and t_i of
    length N/n. All t_i of `W_up` start at zero, so a new patch changes nothing.

    Args:
        bottleneck: int. Width K.
        factor: int. n, a divisor of the channels and of K. Defaults to `4`.
        parallel, inner_skip: See `BottleneckPatch`.

    Source: Mahabadi et al., "Compacter", NeurIPS 2021, section 4. There the A_i are
    shared by all layers; here every patch has its own, so that it stands alone.
    """

    def __init__(self, bottleneck, factor=4, parallel=True, inner_skip=False, **kwargs):
        super().__init__(bottleneck, parallel, inner_skip, **kwargs)
        if not isinstance(factor, int) or factor < 1 or bottleneck % factor:
            raise ValueError(
                "`factor` should be a positive integer that divides `bottleneck`, "
                f"{bottleneck}. Received: `factor` = {factor!r}."
            )
        self.factor = factor

    def build(self, inputs_shape, outputs_shape):
        channels, factor = outputs_shape[-1], self.factor
        if channels % factor:
            raise ValueError(
                f"`factor` should divide the channels, {channels}. Received: `factor` = {factor}."
            )
        wide, narrow = channels // factor, self.bottleneck // factor
        self._add_factors("down", wide, narrow, _normal(wide))
        self._add_factors("up", narrow, wide, "zeros")

    def _add_factors(self, name, rows, columns, initializer):
        n = self.factor
        self.add_weight(name=f"{name}_rule", shape=(n, n, n), initializer=_normal(n))
        self.add_weight(name=f"{name}_rows", shape=(n, rows), initializer=_normal(1))
        self.add_weight(name=f"{name}_columns", shape=(n, columns), initializer=initializer)
        self.add_weight(name=f"{name}_bias", shape=(n * columns,), initializer="zeros")

    def kernels(self, weights):
        return tuple(_sum_of_products(weights, name) for name in ("down", "up"))

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def _normal(fan_in):
    """Normal numbers by which a sum of so many terms keeps its size."""
    return keras.initializers.RandomNormal(stddev=fan_in**-0.5)


def _sum_of_products(weights, name):
    rule, rows, columns = (weights[f"{name}_{part}"] for part in ("rule", "rows", "columns"))
    product = ops.einsum("...inm,...ir,...ic->...nrmc", rule, rows, columns)
    *batch, n, r, m, c = product.shape
    return ops.reshape(product, (*[-1 for _ in batch], n * r, m * c))
