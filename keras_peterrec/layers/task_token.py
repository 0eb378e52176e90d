"""The task token, TCL."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_peterrec")
class TaskToken(keras.layers.Layer):
    """Puts the task token beside a sequence; its hidden state is the user.

    In a causal network the token stands after the last item, where all of the
    history can be seen; in a bidirectional one there is another just before the
    first real item, behind any padding. Of several tokens each has a vector of its
    own; at both ends of a bidirectional network the same ones stand.

    Args:
        causal: bool. Whether the token stands at the end only, or at both ends.
            Defaults to `True`.
        count: int. Tokens n at an end. Defaults to `1`, as in the paper.
        initializer: Initializer of the token. Defaults to a normal distribution
            of standard deviation 0.02.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`, the embedded history, padded on the
            left.
        padding_mask: Tensor of shape `[B, L, 1]`.
        token: Tensor of shape `[B, n, C]`, tokens of each row in place of the
            layer's own, or `None`.

    Returns:
        A tuple of the sequence with the tokens, `[B, L', C]`, its padding mask,
        `[B, L', 1]`, and `token_positions`, `[B, L', 1]`, which is one where a
        token stands. L' is L + n (causal) or L + 2n.

    Raises:
        ValueError: `count` is no positive integer.

    Source: Yuan et al., SIGIR 2020, section 3.3 ("[TCL]") and Fig. 2.
    """

    def __init__(self, causal=True, count=1, initializer=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(count, int) or count < 1:
            raise ValueError(
                f"`count` should be a positive integer. Received: `count` = {count!r}."
            )
        self.causal = causal
        self.count = count
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=0.02)
        )

    def build(self, input_shape):
        # One token is a vector, as it is in bundles of format version 1.
        shape = (input_shape[-1],) if self.count == 1 else (self.count, input_shape[-1])
        self.token = self.add_weight(name="token", shape=shape, initializer=self.initializer)

    def call(self, inputs, padding_mask, token=None):
        count, channels = self.count, inputs.shape[-1]
        if token is None:
            token = ops.reshape(self.token, (1, count, channels))
        real = padding_mask
        if not self.causal:
            # Columns of padding on the left make room for tokens there.
            room = [[0, 0], [count, 0], [0, 0]]
            inputs, real = ops.pad(inputs, room), ops.pad(padding_mask, room)
        room = [[0, 0], [0, count], [0, 0]]
        sequence, padding_mask, positions = ops.pad(inputs, room), ops.pad(real, room), 0.0
        # Whole numbers: half precision could not count so far.
        padding = ops.sum(ops.cast(real == 0, "int32"), axis=1, keepdims=True)  # [B, 1, 1]
        place = ops.arange(ops.shape(sequence)[1], dtype="int32")[:, None]  # [L', 1]
        last = ops.full_like(padding, ops.shape(real)[1])
        for number in range(count):
            # Token n of the front stands where padding ends, less those behind it.
            starts = [last] if self.causal else [last, padding - count]
            at = sum(ops.cast(place == start + number, real.dtype) for start in starts)
            sequence = sequence + at * ops.cast(token[:, number : number + 1], inputs.dtype)
            padding_mask, positions = padding_mask + at, positions + at
        return sequence, padding_mask, positions

    def compute_output_spec(self, inputs, padding_mask, token=None):
        batch, length, channels = inputs.shape
        longer = None if length is None else length + self.count * (1 if self.causal else 2)
        shapes = (batch, longer, channels), (batch, longer, 1), (batch, longer, 1)
        return tuple(keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in shapes)

    def get_config(self):
        return {
            **super().get_config(),
            "causal": self.causal,
            "count": self.count,
            "initializer": keras.initializers.serialize(self.initializer),
        }
