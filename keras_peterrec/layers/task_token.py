"""The task token, TCL, and its hidden state, which represents the user."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.types import Initializer, Json, Shape, Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class TaskToken(keras.layers.Layer):
    """Adds the task token to a sequence; its hidden state represents the user.

    In a causal network the token stands after the last item, where it sees the whole
    history. In a bidirectional one there is another just before the first real item,
    after any padding; both are one vector.

    Args:
        causal: bool. Whether the token stands at the end only, or at both ends.
            Defaults to `True`.
        initializer: Initializer of the token. Defaults to a normal distribution
            with standard deviation 0.02.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`, the embedded history, padded on the
            left.
        padding_mask: Tensor of shape `[B, L, 1]`.
        token: Tensor of shape `[B, 1, C]`, the token of each row in place of the
            layer's own, or `None`.

    Returns:
        A tuple of the sequence with the tokens, `[B, L', C]`; its padding mask,
        `[B, L', 1]`; and `token_positions`, `[B, L', 1]`, which is one where a
        token stands. L' is L + 1 (causal) or L + 2.

    Example:

    >>> layer = TaskToken()
    >>> sequence, _, _ = layer(np.ones((2, 5, 8), "float32"), np.ones((2, 5, 1), "float32"))
    >>> sequence.shape
    (2, 6, 8)

    Source: Yuan et al., SIGIR 2020, section 3.3 ("[TCL]") and Fig. 2.
    """

    def __init__(
        self, causal: bool = True, initializer: Initializer | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.causal = causal
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=0.02)
        )

    def build(self, input_shape: Shape) -> None:
        self.token = self.add_weight(
            name="token", shape=input_shape[-1:], initializer=self.initializer
        )

    def call(self, inputs: Tensor, padding_mask: Tensor, token: Tensor | None = None) -> Tensor:
        if token is None:
            token = ops.reshape(self.token, (1, 1, inputs.shape[-1]))
        real = padding_mask
        if not self.causal:
            # A column of padding on the left makes room for the token there.
            room = [[0, 0], [1, 0], [0, 0]]
            inputs, real = ops.pad(inputs, room), ops.pad(padding_mask, room)
        room = [[0, 0], [0, 1], [0, 0]]
        sequence, padding_mask = ops.pad(inputs, room), ops.pad(real, room)
        # As integers: half precision cannot count that far.
        padding = ops.sum(ops.cast(real == 0, "int32"), axis=1, keepdims=True)  # [B, 1, 1]
        place = ops.arange(ops.shape(sequence)[1], dtype="int32")[:, None]  # [L', 1]
        last = ops.full_like(padding, ops.shape(real)[1])
        # The token in front stands at the end of the padding.
        starts = [last] if self.causal else [last, padding - 1]
        at = sum(ops.cast(place == start, real.dtype) for start in starts)
        return sequence + at * ops.cast(token, inputs.dtype), padding_mask + at, at

    def compute_output_spec(
        self, inputs: Tensor, padding_mask: Tensor, token: Tensor | None = None
    ) -> Tensor:
        batch, length, channels = inputs.shape
        longer = None if length is None else length + (1 if self.causal else 2)
        shapes = (batch, longer, channels), (batch, longer, 1), (batch, longer, 1)
        return tuple(keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in shapes)

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "causal": self.causal,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@keras.saving.register_keras_serializable("keras_peterrec")
class TokenPooling(keras.layers.Layer):
    """The sum of the hidden states at the task token's positions, at one end or two.

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

    def call(self, states: Tensor, token_positions: Tensor) -> Tensor:
        return ops.sum(states * token_positions, axis=1)

    def compute_output_shape(self, states_shape: Shape, token_positions_shape: Shape) -> Shape:
        return (states_shape[0], states_shape[2])
