"""Dilated one-dimensional convolution."""

import keras
from keras import ops

from keras_peterrec.layers.taps import taps


@keras.saving.register_keras_serializable("keras_peterrec")
class DilatedConvolution(keras.layers.Layer):
    """Dilated convolution over the length axis, causal or centred.

    Position `t` of the output sees, for a kernel of width `k` and dilation `d`,

        causal:         x[t - (k-1)d], ..., x[t - d], x[t]
        bidirectional:  x[t - (k-1)d/2], ..., x[t], ..., x[t + (k-1)d/2]

    and zeros outside the sequence. It is computed as one matrix product over
    the `k` shifted copies laid side by side, `[B·L, k·C_in] × [k·C_in, C_out]`,
    which is the same sum as `keras.layers.Conv1D` with dilation and, on a CPU,
    spares that layer's rearrangement of space into batch. The kernel's shape is
    that of `Conv1D`, so weights can be exchanged.

    Where a row holds several sequences, `sequence_ids` says which position is
    whose, and those of other sequences count as zeros too.

    Args:
        filters: int. Output channels.
        kernel_size: int. Odd width of the kernel. Defaults to `3`.
        dilation_rate: int. Distance between two taps. Defaults to `1`.
        causal: bool. Whether a position sees only itself and its past.
            Defaults to `True`.
        kernel_initializer: Initializer of the kernel. Defaults to
            `"glorot_uniform"`.
        bias_initializer: Initializer of the bias. Defaults to `"zeros"`.

    Call arguments:
        inputs: Tensor of shape `[B, L, C_in]`.
        sequence_ids: int32 tensor of shape `[B, L]` as from `SequenceIds`, or
            `None` where each row is one sequence.

    Returns:
        Tensor of shape `[B, L, filters]`.

    Raises:
        ValueError: `filters`, `kernel_size` or `dilation_rate` is not allowed.

    Example:

    >>> layer = DilatedConvolution(8, dilation_rate=4)
    >>> layer(np.ones((2, 10, 8), "float32")).shape
    (2, 10, 8)

    Source: Yuan et al., "Parameter-efficient transfer from sequential
    behaviors for user modeling and recommendation", SIGIR 2020, section 3.2.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        dilation_rate=1,
        causal=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("dilation_rate", dilation_rate)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` should be a positive integer. Received: `{name}` = {value!r}."
                )
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                "`kernel_size` should be an odd positive integer. "
                f"Received: `kernel_size` = {kernel_size!r}."
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.dilation_rate = dilation_rate
        self.causal = causal
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer=self.bias_initializer
        )

    def call(self, inputs, sequence_ids=None):
        shape = self.kernel_size, self.dilation_rate, self.causal
        seen, own = taps(inputs, *shape)  # [B, L, C_in] each
        if sequence_ids is not None:
            ids = ops.expand_dims(sequence_ids, -1)
            owners, _ = taps(ids, *shape)
            seen = [
                tap if index == own else tap * ops.cast(owner == ids, tap.dtype)
                for index, (tap, owner) in enumerate(zip(seen, owners))
            ]
        return self.of_taps(ops.concatenate(seen, axis=-1))

    @property
    def reach(self):
        """Positions between the first tap and the last."""
        return (self.kernel_size - 1) * self.dilation_rate

    def of_taps(self, seen):
        """The outputs where the k taps see `seen`, side by side, `[..., k·C_in]`."""
        kernel = ops.reshape(self.kernel, (-1, self.filters))  # [k·C_in, C_out]
        return ops.matmul(seen, kernel) + self.bias

    def last_taps(self, inputs, positions):
        """What the taps of a causal convolution see at the last n positions.

        Args:
            inputs: Tensor of shape `[B, reach + n, C_in]`.
            positions: int. n.

        Returns:
            Tensor of shape `[B·n, k·C_in]`, for `of_taps`.
        """
        taps_at = range(0, self.reach + 1, self.dilation_rate)
        rows = [position + tap for position in range(positions) for tap in taps_at]
        seen = ops.take(inputs, rows, axis=1)
        return ops.reshape(seen, (-1, self.kernel_size * inputs.shape[-1]))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "causal": self.causal,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
