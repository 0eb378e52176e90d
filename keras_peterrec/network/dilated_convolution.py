"""Dilated one-dimensional convolution."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_peterrec.errors import InputError, check_count


@dataclass(frozen=True)
class Dilation:
    """A dilation that is known only when a graph runs.

    Args:
        rate: Integer tensor, a scalar.
        largest: int. What `rate` never exceeds.
    """

    rate: Any
    largest: int

    def times(self, factor: int) -> "Dilation":
        """So many times this dilation."""
        return Dilation(factor * self.rate, factor * self.largest)


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
        dilation: Dilation or `None`. In place of the layer's own. Defaults to `None`.

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = check_count("filters", filters)
        self.dilation_rate = check_count("dilation_rate", dilation_rate)
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(
                "`kernel_size` should be an odd positive integer. "
                f"Received: `kernel_size` = {kernel_size!r}."
            )
        self.kernel_size = kernel_size
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

    def call(self, inputs, sequence_ids=None, dilation=None):
        return self.apply(inputs, self.taps(sequence_ids, dilation))

    def taps(self, sequence_ids=None, dilation=None):
        """What the kernel sees, as Taps; arguments as of a call."""
        return Taps(self.kernel_size, dilation or self.dilation_rate, self.causal, sequence_ids)

    def apply(self, inputs, taps):
        """The outputs for inputs `[B, L, C_in]` of which the kernel sees `taps`."""
        if not taps.in_loop:
            return self.apply_kernel(taps.side_by_side(inputs))

        @ops.custom_gradient
        def forward(inputs, kernel, bias):
            flat = ops.reshape(kernel, (-1, self.filters))  # [k·C_in, C_out]
            outputs = ops.matmul(taps.side_by_side(inputs), flat) + bias

            def gradient(*args, upstream=None):
                # Keras hands it over by name or by position, depending on the backend.
                upstream = args[0] if upstream is None else upstream
                rows = ops.reshape(upstream, (-1, self.filters))
                # The copies are laid out again: a loop would keep them for every block, and they
                # are k times as large as the inputs.
                seen = ops.reshape(taps.side_by_side(inputs), (-1, flat.shape[0]))
                d_kernel = ops.reshape(ops.matmul(ops.transpose(seen), rows), kernel.shape)
                d_seen = ops.matmul(upstream, ops.transpose(flat))
                return taps.added_up(d_seen), d_kernel, ops.sum(rows, axis=0)

            return outputs, gradient

        dtype = self.compute_dtype
        return forward(inputs, ops.cast(self.kernel, dtype), ops.cast(self.bias, dtype))

    @property
    def reach(self) -> int:
        """Distance from the first position that the kernel sees to the last."""
        return (self.kernel_size - 1) * self.dilation_rate

    def apply_kernel(self, seen):
        """Returns the outputs where the kernel sees `seen`, `[..., k·C_in]`."""
        kernel = ops.reshape(self.kernel, (-1, self.filters))  # [k·C_in, C_out]
        return ops.matmul(seen, kernel) + self.bias

    def seen_last(self, inputs, positions: int):
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


class Taps:
    """What a dilated kernel sees: copies of a sequence, shifted by the places of its taps.

    Laid side by side they are, at position t,

        causal:         x[t - (k-1)d], ..., x[t - d], x[t]
        bidirectional:  x[t - (k-1)d/2], ..., x[t], ..., x[t + (k-1)d/2]

    and zeros where that is outside the sequence.

    Args:
        kernel_size: int. Width k of the kernel, odd.
        dilation_rate: int or Dilation. Distance d between two neighbours in the kernel, in
            positions.
        causal: bool. Whether a position sees only itself and its past.
        sequence_ids: int32 tensor of shape `[B, L]` as from `SequenceIds`, or `None` where each
            row is one sequence.
    """

    def __init__(self, kernel_size, dilation_rate, causal, sequence_ids=None):
        # A dilation is known only when the graph runs where a loop goes over several blocks.
        self.in_loop = isinstance(dilation_rate, Dilation)
        self._rate = dilation_rate.rate if self.in_loop else dilation_rate
        largest = dilation_rate.largest if self.in_loop else dilation_rate
        self._own = kernel_size - 1 if causal else kernel_size // 2
        self._count = kernel_size
        self._before = self._own * largest
        self._after = (kernel_size - 1 - self._own) * largest
        self._masks = None
        if sequence_ids is not None:
            ids = ops.expand_dims(sequence_ids, -1)
            self._masks = [copied == ids for copied in self._shifted(ids, 1)]

    def side_by_side(self, values):
        """The copies of `[B, L, C]` beside each other, `[B, L, k·C]`."""
        return ops.concatenate(self._masked(self._shifted(values, 1)), axis=-1)

    def added_up(self, gradient):
        """The gradient of `values`, given that of `side_by_side(values)`."""
        parts = self._masked(ops.split(gradient, self._count, axis=-1))
        return sum(
            part if tap == self._own else self._shifted(part, -1, [tap])[0]
            for tap, part in enumerate(parts)
        )

    def _masked(self, copies):
        if self._masks is None:
            return copies
        return [
            copy if tap == self._own else copy * ops.cast(mask, copy.dtype)
            for tap, (copy, mask) in enumerate(zip(copies, self._masks))
        ]

    def _shifted(self, values, direction, taps=None):
        """For each tap, the values that it sees; with direction -1, by what they are seen."""
        room = [self._before, self._after][::direction]
        padded = ops.pad(values, [[0, 0], room, [0, 0]])
        taps = range(self._count) if taps is None else taps
        starts = [room[0] + direction * (tap - self._own) * self._rate for tap in taps]
        if self.in_loop:
            return [ops.slice(padded, (0, start, 0), ops.shape(values)) for start in starts]
        # A stop of None keeps the last copy whole.
        return [padded[:, start : (start - sum(room)) or None] for start in starts]
