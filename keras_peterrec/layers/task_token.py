"""The task token, TCL, and its hidden state, which represents the user."""

import keras
from keras import ops

from keras_peterrec.errors import check_count


@keras.saving.register_keras_serializable("keras_peterrec")
class TaskToken(keras.layers.Layer):
    """Adds the task token to a sequence; its hidden state represents the user.

    In a causal network the token stands after the last item, where it sees the whole
    history. In a bidirectional one there is another just before the first real item,
    after any padding. Several tokens have a vector each; both ends of a bidirectional
    network have the same ones.

    Args:
        causal: bool. Whether the token stands at the end only, or at both ends.
            Defaults to `True`.
        count: int. Number n of tokens at an end. Defaults to `1`, as in the paper.
        initializer: Initializer of the token. Defaults to a normal distribution
            with standard deviation 0.02.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`, the embedded history, padded on the
            left.
        padding_mask: Tensor of shape `[B, L, 1]`.
        token: Tensor of shape `[B, n, C]`, tokens of each row in place of the
            layer's own, or `None`.

    Returns:
        A tuple of the sequence with the tokens, `[B, L', C]`; its padding mask,
        `[B, L', 1]`; and `token_positions`, `[B, L', 1]`, which is one where a
        token stands. L' is L + n (causal) or L + 2n.

    Raises:
        InputError: if `count` is not a positive integer.

    Example:

    >>> layer = TaskToken()
    >>> sequence, _, _ = layer(np.ones((2, 5, 8), "float32"), np.ones((2, 5, 1), "float32"))
    >>> sequence.shape
    (2, 6, 8)

    Source: Yuan et al., SIGIR 2020, section 3.3 ("[TCL]") and Fig. 2.
    """

    def __init__(self, causal: bool = True, count: int = 1, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.causal = causal
        self.count = check_count("count", count)
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=0.02)
        )

    def build(self, input_shape):
        # A single token is a vector, as in bundles of format version 1.
        shape = (input_shape[-1],) if self.count == 1 else (self.count, input_shape[-1])
        self.token = self.add_weight(name="token", shape=shape, initializer=self.initializer)

    def call(self, inputs, padding_mask, token=None):
        count, channels = self.count, inputs.shape[-1]
        if token is None:
            token = ops.reshape(self.token, (1, count, channels))
        real = padding_mask
        if not self.causal:
            # Columns of padding on the left make room for the tokens there.
            room = [[0, 0], [count, 0], [0, 0]]
            inputs, real = ops.pad(inputs, room), ops.pad(padding_mask, room)
        room = [[0, 0], [0, count], [0, 0]]
        sequence, padding_mask, positions = ops.pad(inputs, room), ops.pad(real, room), 0.0
        # As integers: half precision cannot count that far.
        padding = ops.sum(ops.cast(real == 0, "int32"), axis=1, keepdims=True)  # [B, 1, 1]
        place = ops.arange(ops.shape(sequence)[1], dtype="int32")[:, None]  # [L', 1]
        last = ops.full_like(padding, ops.shape(real)[1])
        for number in range(count):
            # The tokens in front stand just before the end of the padding.
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


@keras.saving.register_keras_serializable("keras_peterrec")
class TokenPooling(keras.layers.Layer):
    """Reads the hidden states at the task token's positions.

    They are summed over the two ends of a sequence, and averaged over several tokens
    at an end.

    Args:
        count: int. Number of tokens at an end. Defaults to `1`.

    Call arguments:
        states: Tensor of shape `[B, L, C]`.
        token_positions: Tensor of shape `[B, L, 1]`, one where a token stands.

    Returns:
        Tensor of shape `[B, C]`, the user.

    Example:

    >>> TokenPooling()(np.ones((2, 6, 8)), np.ones((2, 6, 1))).shape
    (2, 8)

    Source: Yuan et al., SIGIR 2020, section 3.3.
    """

    def __init__(self, count: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, states, token_positions):
        return ops.sum(states * token_positions, axis=1) * (1.0 / self.count)

    def compute_output_shape(self, states_shape, token_positions_shape):
        return (states_shape[0], states_shape[2])

    def get_config(self):
        return {**super().get_config(), "count": self.count}
