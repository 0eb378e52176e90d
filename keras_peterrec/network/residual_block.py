"""Residual block of two dilated convolutions, with the sites where patches may act."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.layers.hashed_dropout import HashedDropout
from keras_peterrec.network.block_network import AtSites, Block
from keras_peterrec.network.dilated_convolution import DilatedConvolution
from keras_peterrec.network.network import ACTIVATION, BRANCH, LINEAR, NORM, Site
from keras_peterrec.network.normalized_relu import NormalizedRelu
from keras_peterrec.types import Json, Shape, Tensor, Variables

CONVOLUTION_SITES = ("convolution_1", "convolution_2")
NORM_SITES = ("norm_1", "norm_2")
ACTIVATION_SITES = ("activation_1", "activation_2")
BRANCH_GAIN = 0.2  # see "The network" in notebooks/results.md
# In the order in which a block reaches them, and of which kind they are.
SITES = {
    "convolution_1": LINEAR,
    "norm_1": NORM,
    "activation_1": ACTIVATION,
    "convolution_2": LINEAR,
    "norm_2": NORM,
    "activation_2": BRANCH,
}


@keras.saving.register_keras_serializable("keras_peterrec")
class ResidualBlock(Block):
    """Two dilated convolutions whose result is added to the block's input.

        h = relu(LN1(conv_d(x)));  y = relu(LN2(conv_2d(h)));  return x + y

    Each branch starts small: γ of `LN2` starts at `BRANCH_GAIN`, not at 1. Otherwise the sum of all
    branches drowns what the item vectors say.

    Padded positions are set to zero after every sum, so that no real position
    can tell how much padding stands before it.

    A patch may act at six *sites*, reached in the order of `SITES`: after each
    convolution (`convolution_1`, `convolution_2`); after its normalisation and before
    the ReLU (`norm_1`, `norm_2`); and after each activation (`activation_1`,
    `activation_2`; the latter is the branch just before the residual sum). The block
    calls `patches[site](inputs, outputs, seen=...)` and goes on with what the patch returns.
    `inputs` is what the site's convolution read, `outputs` is the result of the
    convolution, its normalisation or its activation, and `seen` a function to what the taps of
    the convolution see, side by side.

    Args:
        dilation_rate: int. Dilation of the first convolution; the second has
            twice as much.
        kernel_size: int. Width of the kernels, odd. Defaults to `3`.
        causal: bool. Whether a position sees only itself and its past.
            Defaults to `True`.
        dropout: float. Rate of the dropout on the branch `y`. Defaults to `0.0`.

    Call arguments and what it returns: see `Block`.

    Example:

    >>> block = ResidualBlock(dilation_rate=1)
    >>> block(np.ones((2, 10, 8), "float32"), np.ones((2, 10, 1), "float32")).shape
    (2, 10, 8)

    Source: Yuan et al., SIGIR 2020, section 3.2 and Fig. 3(a).
    """

    def __init__(
        self,
        dilation_rate: int,
        kernel_size: int = 3,
        causal: bool = True,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(causal, dropout, **kwargs)
        self.dilation_rate, self.kernel_size = dilation_rate, kernel_size

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        self.convolutions, self.norms = [], []
        for index, rate in enumerate((self.dilation_rate, 2 * self.dilation_rate), 1):
            convolution = DilatedConvolution(
                channels,
                self.kernel_size,
                rate,
                self.causal,
                name=f"convolution_{index}",
                dtype=self.dtype_policy,
            )
            gain = keras.initializers.Constant(1.0 if index == 1 else BRANCH_GAIN)
            norm = NormalizedRelu(
                name=f"norm_{index}", gamma_initializer=gain, dtype=self.dtype_policy
            )
            convolution.build(input_shape)
            norm.build(input_shape)
            self.convolutions.append(convolution)
            self.norms.append(norm)
        self.branch_dropout = HashedDropout(
            self.dropout, name="branch_dropout", dtype=self.dtype_policy
        )

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None = None,
        patches: AtSites | None = None,
        training: bool | None = None,
        last: int | None = None,
    ) -> Tensor:
        branch, beyond = inputs, self.reach
        for convolution, norm, at_sites in self._halves(patches):
            branch = _last(branch, last, beyond)
            seen = convolution.taps(sequence_ids).side_by_side(branch)
            # What only the taps have seen is needed no more.
            beyond -= convolution.reach
            branch, seen, mask = (
                _last(rows, last, beyond) for rows in (branch, seen, padding_mask)
            )
            convolved = convolution.apply_kernel(seen)
            branch = _activated(norm, at_sites, branch, seen, convolved) * mask
        return _last(inputs, last) + self.branch_dropout(branch, training=training)

    def with_tokens(
        self,
        inputs: Tensor,
        tokens: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None = None,
        patches: AtSites | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor]:
        # The convolution of the tokens is that of the sequence, and one tap of the difference.
        branch, token = inputs, tokens
        for convolution, norm, at_sites in self._halves(patches):
            seen = convolution.taps(sequence_ids).side_by_side(branch)
            channels = branch.shape[-1]
            seen_by_token = ops.concatenate([seen[..., :-channels], token], axis=-1)
            convolved = convolution.apply_kernel(seen)
            change = ops.matmul(token - branch, convolution.kernel[-1])
            activated = _activated(norm, at_sites, branch, seen, convolved)
            branch = activated * padding_mask
            token = _activated(norm, at_sites, token, seen_by_token, convolved + change)
        branch, token = (self.branch_dropout(part, training=training) for part in (branch, token))
        return inputs + branch, tokens + token

    def step(
        self,
        inputs: Tensor,
        windows: list[Tensor],
        positions: int,
        patches: AtSites | None = None,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Computes the next positions of a causal block from what it kept of earlier ones.

        Users and positions lie flat in one axis, N = B·n: with so few of them the time
        goes into the number of operations, and matrices need the fewest.

        Args:
            inputs: Tensor of shape `[N, C]`, the block's input at the positions.
            windows: list of the last inputs of each convolution, `[B, reach, C]`, oldest
                first. Zeros at the start.
            positions: int. n.
            patches: see a call.
            padding_mask: Tensor of shape `[N, 1]`, or `None` where all positions are real.

        Returns:
            The block's outputs at the positions, `[N, C]`, and the windows with the new
            inputs after the old ones, `[B, reach + n, C]`.
        """
        branch, longer = inputs, []
        for (convolution, norm, at_sites), window in zip(self._halves(patches), windows):
            new = ops.reshape(branch, (-1, positions, branch.shape[-1]))
            longer.append(ops.concatenate([window, new], axis=1))
            seen = convolution.seen_last(longer[-1], positions)
            convolved = convolution.apply_kernel(seen)
            branch = _activated(norm, at_sites, branch, seen, convolved)
            if padding_mask is not None:
                branch = branch * padding_mask
        return inputs + branch, longer

    def _halves(self, patches):
        """Yields each convolution and its norm, with the patches at their three sites."""
        places = CONVOLUTION_SITES, NORM_SITES, ACTIVATION_SITES
        for convolution, norm, *sites in zip(self.convolutions, self.norms, *places):
            yield convolution, norm, [(patches or {}).get(site) for site in sites]

    @property
    def reach(self) -> int:
        return sum(convolution.reach for convolution in self.convolutions)

    @property
    def sites(self) -> dict[str, Site]:
        channels = self.convolutions[0].filters
        seen = self.kernel_size * channels
        return {site: Site(kind, channels, channels, seen) for site, kind in SITES.items()}

    def foldable(self, site: str) -> Variables:
        if site in CONVOLUTION_SITES:
            layer, names = self.convolutions[CONVOLUTION_SITES.index(site)], ("kernel", "bias")
        else:
            layer, names = self.norms[NORM_SITES.index(site)], ("gamma", "beta")
        return {name: getattr(layer, name) for name in names}

    def get_config(self) -> Json:
        own = {"dilation_rate": self.dilation_rate, "kernel_size": self.kernel_size}
        return {**super().get_config(), **own}


def _last(rows, count, beyond=0):
    """The last `count + beyond` positions, as many as there are; all where `count` is `None`."""
    return rows if count is None else rows[:, -(count + beyond) :]


def _activated(norm, at_sites, inputs, seen, convolved):
    """Takes a convolution's outputs through its three sites to the activation."""
    at_convolution, at_norm, at_activation = at_sites

    def patched(patch, outputs):
        return outputs if patch is None else patch(inputs, outputs, seen=lambda: seen)

    convolved = patched(at_convolution, convolved)
    if at_norm is None:
        return patched(at_activation, norm(convolved))
    normalized = norm.normalized(convolved)
    return patched(at_activation, ops.relu(patched(at_norm, normalized)))
