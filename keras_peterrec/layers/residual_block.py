"""Residual block of two dilated convolutions, with its sites for patches."""

import keras

from keras_peterrec.layers.dilated_convolution import DilatedConvolution
from keras_peterrec.layers.hashed_dropout import HashedDropout
from keras_peterrec.layers.normalized_relu import NormalizedRelu

CONVOLUTION_SITES = ("convolution_1", "convolution_2")
ACTIVATION_SITES = ("activation_1", "activation_2")
SITES = ("convolution_1", "activation_1", "convolution_2", "activation_2")


@keras.saving.register_keras_serializable("keras_peterrec")
class ResidualBlock(keras.layers.Layer):
    """Two dilated convolutions whose result is added to the block's input.

        h = relu(LN1(conv_d(x)));  y = relu(LN2(conv_2d(h)));  return x + y

    Padded positions are set to zero after every sum, so that no real position
    can tell how much padding stands before it.

    A patch may act at four *sites*, called in the order of `SITES`: after each
    convolution, before its normalisation (`convolution_1`, `convolution_2`), and
    after each activation (`activation_1`, `activation_2`; the latter is the
    branch just before the residual sum). The block calls
    `patch(site, inputs, outputs)`, where `inputs` is what the site's convolution
    read and `outputs` what it or its activation gave, and goes on with what the
    patch returns.

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
        patch: Callable `patch(site, inputs, outputs) -> outputs`, or `None`.

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

    def call(self, inputs, padding_mask, sequence_ids=None, patch=None, training=None):
        patch = patch or _unpatched
        branch = inputs
        for convolution, norm, at_convolution, at_activation in zip(
            self.convolutions, self.norms, CONVOLUTION_SITES, ACTIVATION_SITES
        ):
            read = branch
            branch = norm(patch(at_convolution, read, convolution(read, sequence_ids)))
            branch = patch(at_activation, read, branch) * padding_mask
        return inputs + self.branch_dropout(branch, training=training)

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


def _unpatched(site, inputs, outputs):
    return outputs
