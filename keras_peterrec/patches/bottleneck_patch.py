"""The bottleneck a patch consists of."""

import keras
from keras import ops

from keras_peterrec.patches.patch_layer import PatchLayer


@keras.saving.register_keras_serializable("keras_peterrec")
class BottleneckPatch(PatchLayer):
    """One small two-layer network beside or behind a frozen layer.

        M(z) = W_up · gelu(W_down z + b_down) + b_up          (+ z if `inner_skip`)
        outputs + M(z),   z = inputs if `parallel` else outputs

    (gelu by tanh, as in the official code.) `W_up` and `b_up` start at zero, so a new patch
    changes nothing.

    Args:
        bottleneck: int. Width K.
        parallel: bool. Whether M reads the frozen layer's inputs (in parallel to
            it) or its outputs (in series). Defaults to `True`.
        inner_skip: bool. The paper's own patch has a skip inside M; in parallel it
            changes the host's function at the first step, in series it doubles
            the outputs. Defaults to `False`.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`, what the frozen layer read.
        outputs: Tensor of shape `[B, L, C]`, what it gave.

    Returns:
        Tensor of shape `[B, L, C]`.

    Source: Yuan et al., SIGIR 2020, section 3.4 and Fig. 3(f).
    """

    def __init__(self, bottleneck, parallel=True, inner_skip=False, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(bottleneck, int) or bottleneck < 1:
            raise ValueError(
                "`bottleneck` should be a positive integer. "
                f"Received: `bottleneck` = {bottleneck!r}."
            )
        self.bottleneck = bottleneck
        self.parallel = parallel
        self.inner_skip = inner_skip

    def build(self, inputs_shape, outputs_shape):
        channels = outputs_shape[-1]
        self.add_weight(
            name="down_kernel", shape=(channels, self.bottleneck), initializer="he_normal"
        )
        self.add_weight(name="down_bias", shape=(self.bottleneck,), initializer="zeros")
        self.add_weight(name="up_kernel", shape=(self.bottleneck, channels), initializer="zeros")
        self.add_weight(name="up_bias", shape=(channels,), initializer="zeros")

    def apply(self, weights, inputs, outputs):
        read = inputs if self.parallel else outputs
        down_kernel, up_kernel = self.kernels(weights)
        narrow = ops.gelu(ops.matmul(read, down_kernel) + weights["down_bias"])
        change = ops.matmul(narrow, up_kernel) + weights["up_bias"]
        if self.inner_skip:
            change = change + read
        return outputs + change

    def kernels(self, weights):
        """`W_down`, `[..., C, K]`, and `W_up`, `[..., K, C]`."""
        return weights["down_kernel"], weights["up_kernel"]

    def get_config(self):
        return {
            **super().get_config(),
            "bottleneck": self.bottleneck,
            "parallel": self.parallel,
            "inner_skip": self.inner_skip,
        }
