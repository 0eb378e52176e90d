"""What the taps of a dilated kernel see."""

from keras import ops


def taps(values, kernel_size, dilation_rate, causal):
    """Copies of `values` moved along the length axis, one for each tap of a kernel.

        causal:         x[t - (k-1)d], ..., x[t - d], x[t]
        bidirectional:  x[t - (k-1)d/2], ..., x[t], ..., x[t + (k-1)d/2]

    Args:
        values: Tensor of shape `[B, L, C]`.
        kernel_size: int. Odd width k of the kernel, in taps.
        dilation_rate: int. Distance d between two taps, in positions.
        causal: bool.

    Returns:
        list of k tensors of shape `[B, L, C]`, 0 outside of the sequence; and the
        index of the one that is `values` itself.
    """
    reach = (kernel_size - 1) * dilation_rate
    before = reach if causal else reach // 2
    padded = ops.pad(values, [[0, 0], [before, reach - before], [0, 0]])
    starts = range(0, reach + 1, dilation_rate)
    # A stop of None keeps the last copy whole.
    moved = [padded[:, start : (start - reach) or None] for start in starts]
    return moved, before // dilation_rate
