"""Residual block of two dilated convolutions, with its sites for patches."""

import keras
from keras import ops

from keras_peterrec.layers.dilated_convolution import DilatedConvolution
from keras_peterrec.layers.hashed_dropout import HashedDropout
from keras_peterrec.layers.normalized_relu import NormalizedRelu
from keras_peterrec.layers.sites import ACTIVATION_SITES, CONVOLUTION_SITES, NORM_SITES


@keras.saving.register_keras_serializable("keras_peterrec")
class ResidualBlock(keras.layers.Layer):
    """Two dilated convolutions whose result is added to the block's input.

        h = relu(LN1(conv_d(x)));  y = relu(LN2(conv_2d(h)));  return x + y

    Padded positions are set to zero after every sum, so that no real position
    can tell how much padding stands before it.

    A patch may act at six *sites*, met in the order of `SITES`: after each
    convolution (`convolution_1`, `convolution_2`), after its normalisation, before
    the ReLU (`norm_1`, `norm_2`), and after each activation (`activation_1`,
    `activation_2`; the latter is the branch just before the residual sum). The block
    calls `patches[site](inputs, outputs)`, where `inputs` is what the site's
    convolution read and `outputs` what it, its normalisation or its activation gave,
    and goes on with what the patch returns.

    Args:
        dilation_rate: int. Dilation of the first convolution; the second has
            twice as much.
        kernel_size: int. Defaults to `3`.
        causal: bool. Defaults to `True`.
        dropout: float. Rate of the dropout on the branch `y`. Defaults to `0.0`.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`.
        padding_mask: Tensor of shape `[B, L, 1]`, one at real positions and
            zero at padding.
        sequence_ids: int32 tensor of shape `[B, L]` as from `SequenceIds`, or
            `None` where each row is one sequence, padded on the left.
        patches: dict from site to callable `patch(inputs, outputs) -> outputs`, or
            `None`.

    Returns:
        Tensor of shape `[B, L, C]`.

    Source: Yuan et al., SIGIR 2020, section 3.2 and Fig. 3(a).
    """

    def __init__(self, dilation_rate, kernel_size=3, causal=True, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.dilation_rate = dilation_rate
        self.kernel_size = kernel_size
        self.causal = causal
        self.dropout = dropout

    def build(self, input_shape):
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
            norm = NormalizedRelu(name=f"norm_{index}", dtype=self.dtype_policy)
            convolution.build(input_shape)
            norm.build(input_shape)
            self.convolutions.append(convolution)
            self.norms.append(norm)
        self.branch_dropout = HashedDropout(
            self.dropout, name="branch_dropout", dtype=self.dtype_policy
        )

    def call(self, inputs, padding_mask, sequence_ids=None, patches=None, training=None):
        branch = inputs
        for convolution, norm, sites in self._halves(patches):
            convolved = convolution(branch, sequence_ids)
            branch = _activated(norm, sites, branch, convolved) * padding_mask
        return inputs + self.branch_dropout(branch, training=training)

    @property
    def memory_length(self):
        """Rows of what `step` remembers: what both convolutions' earlier taps see."""
        return sum(convolution.reach for convolution in self.convolutions)

    def step(self, inputs, memory, patches=None):
        """The next position of a causal block, from what the ones before have left.

        Args:
            inputs: Tensor of shape `[B, 1, C]`, the block's input at that position.
            memory: Tensor of shape `[B, memory_length, C]`: the last inputs of the first
                convolution, oldest first, and those of the second. Zeros at the start.
            patches: dict from site to callable `patch(seen, outputs) -> outputs`, where
                `seen` is a list of what the taps of the site's convolution see, the
                position itself last, `[B, 1, C]` each; or `None`.

        Returns:
            The block's output at the position, `[B, 1, C]`, and the new memory.
        """
        branch, start, kept = inputs, 0, []
        for convolution, norm, sites in self._halves(patches):
            rows = convolution.reach
            window = memory[:, start : start + rows]
            taps_at = range(0, rows, convolution.dilation_rate)
            seen = [*(window[:, row : row + 1] for row in taps_at), branch]
            kept += [window[:, 1:], branch]
            branch = _activated(norm, sites, seen, convolution.of_taps(seen))
            start += rows
        return inputs + branch, ops.concatenate(kept, axis=1)

    def _halves(self, patches):
        """Each convolution and its norm, with the patches at the three sites there."""
        for convolution, norm, *sites in zip(
            self.convolutions, self.norms, CONVOLUTION_SITES, NORM_SITES, ACTIVATION_SITES
        ):
            yield convolution, norm, [(patches or {}).get(site, _unpatched) for site in sites]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "dilation_rate": self.dilation_rate,
            "kernel_size": self.kernel_size,
            "causal": self.causal,
            "dropout": self.dropout,
        }


def _activated(norm, sites, read, convolved):
    """From a convolution's outputs over its three sites to the activation."""
    at_convolution, at_norm, at_activation = sites
    convolved = at_convolution(read, convolved)
    if at_norm is _unpatched:
        return at_activation(read, norm(convolved))
    return at_activation(read, ops.relu(at_norm(read, norm.normalized(convolved))))


def _unpatched(inputs, outputs):
    return outputs
