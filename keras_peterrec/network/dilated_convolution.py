"""Dilated one-dimensional convolution."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_peterrec.errors import check_count, refuse
from keras_peterrec.types import Json, Shape, Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class DilatedConvolution(keras.layers.Layer):
    """Dilated convolution over the length axis, causal or centred.

    With a kernel of width `k` and dilation `d`, the output at position `t` sees

        causal:         x[t - (k-1)d], ..., x[t - d], x[t]
        bidirectional:  x[t - (k-1)d/2], ..., x[t], ..., x[t + (k-1)d/2]

    and zeros outside the sequence. It is computed as one matrix product over
    the `k` shifted copies laid side by side, `[B·L, k·C_in] × [k·C_in, C_out]`.
    That is the same sum as `keras.layers.Conv1D` with dilation, and on a CPU it
    avoids that layer's rearrangement of space into batch. The kernel has the
    shape of `Conv1D`'s, so weights can be exchanged.

    Where a row holds several sequences, `sequence_ids` says which position belongs
    to which, and positions of other sequences count as zeros too.

    Args:
        filters: int. Number of output channels.
        kernel_size: int. Width of the kernel, odd. Defaults to `3`.
        dilation_rate: int. Distance between two neighbours in the kernel, in
            positions. Defaults to `1`.
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
        InputError: if `filters`, `kernel_size` or `dilation_rate` is not allowed.

    Example:

    >>> layer = DilatedConvolution(8, dilation_rate=4)
    >>> layer(np.ones((2, 10, 8), "float32")).shape
    (2, 10, 8)

    Source: Yuan et al., "Parameter-efficient transfer from sequential
    behaviors for user modeling and recommendation", SIGIR 2020, section 3.2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        dilation_rate: int = 1,
        causal: bool = True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = check_count("filters", filters)
        self.dilation_rate = check_count("dilation_rate", dilation_rate)
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            refuse("kernel_size", "an odd positive integer", kernel_size)
        self.kernel_size = kernel_size
        self.causal = causal
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer=self.bias_initializer
        )

    def call(self, inputs: Tensor, sequence_ids: Tensor | None = None) -> Tensor:
        return self.apply_kernel(self.taps(sequence_ids).side_by_side(inputs))

    def taps(self, sequence_ids: Tensor | None = None) -> Any:
        """What the kernel sees, as Taps."""
        return Taps(self.kernel_size, self.dilation_rate, self.causal, sequence_ids)

    @property
    def reach(self) -> int:
        """Distance from the first position that the kernel sees to the last."""
        return (self.kernel_size - 1) * self.dilation_rate

    def apply_kernel(self, seen: Callable[[], Tensor] | None) -> Tensor:
        """Returns the outputs where the kernel sees `seen`, `[..., k·C_in]`."""
        kernel = ops.reshape(self.kernel, (-1, self.filters))  # [k·C_in, C_out]
        return ops.matmul(seen, kernel) + self.bias

    def seen_last(self, inputs: Tensor, positions: int) -> Tensor:
        """Returns what a causal kernel sees at the last n positions.

        Args:
            inputs: Tensor of shape `[B, reach + n, C_in]`.
            positions: int. n.

        Returns:
            Tensor of shape `[B·n, k·C_in]`, for `apply_kernel`.
        """
        offsets = range(0, self.reach + 1, self.dilation_rate)
        places = [position + offset for position in range(positions) for offset in offsets]
        seen = ops.take(inputs, places, axis=1)
        return ops.reshape(seen, (-1, self.kernel_size * inputs.shape[-1]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "causal": self.causal,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


class Taps:
    """What a dilated kernel sees: copies of a sequence, shifted by the places of its taps.

    Arguments as of `DilatedConvolution` and its call; its formulas say where the taps are.
    """

    def __init__(
        self, kernel_size, dilation_rate, causal, sequence_ids: Tensor | None = None
    ) -> None:
        self._rate = dilation_rate
        self._own = kernel_size - 1 if causal else kernel_size // 2
        self._count = kernel_size
        self._before = self._own * dilation_rate
        self._after = (kernel_size - 1 - self._own) * dilation_rate
        self._masks = None
        if sequence_ids is not None:
            ids = ops.expand_dims(sequence_ids, -1)
            self._masks = [copied == ids for copied in self._shifted(ids)]

    def side_by_side(self, values: Tensor) -> Tensor:
        """The copies of `[B, L, C]` beside each other, `[B, L, k·C]`."""
        return ops.concatenate(self._masked(self._shifted(values)), axis=-1)

    def _masked(self, copies):
        if self._masks is None:
            return copies
        return [
            copy if tap == self._own else copy * ops.cast(mask, copy.dtype)
            for tap, (copy, mask) in enumerate(zip(copies, self._masks))
        ]

    def _shifted(self, values):
        """For each tap, the values that it sees."""
        room = self._before + self._after
        padded = ops.pad(values, [[0, 0], [self._before, self._after], [0, 0]])
        starts = [tap * self._rate for tap in range(self._count)]
        # A stop of None keeps the last copy whole.
        return [padded[:, start : (start - room) or None] for start in starts]
