"""The task token's hidden state."""

import keras


@keras.saving.register_keras_serializable("keras_peterrec")
class TokenPooling(keras.layers.Layer):
    """The hidden states at the task token's positions: summed over the two ends of a
    sequence, and averaged over several tokens at an end.

    Args:
        count: int. Tokens at an end. Defaults to `1`.

    Call arguments:
        states: Tensor of shape `[B, L, C]`.
        token_positions: Tensor of shape `[B, L, 1]`, one where a token stands.

    Returns:
        Tensor of shape `[B, C]`, the user.
    """

    def __init__(self, count=1, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, states, token_positions):
        return keras.ops.sum(states * token_positions, axis=1) * (1.0 / self.count)

    def compute_output_shape(self, states_shape, token_positions_shape):
        return (states_shape[0], states_shape[2])

    def get_config(self):
        return {**super().get_config(), "count": self.count}
