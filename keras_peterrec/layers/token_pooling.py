"""The task token's hidden state."""

import keras


@keras.saving.register_keras_serializable("keras_peterrec")
class TokenPooling(keras.layers.Layer):
    """Sums the hidden states at the task token's positions.

    Call arguments:
        states: Tensor of shape `[B, L, C]`.
        token_positions: Tensor of shape `[B, L, 1]`, one where a token stands.

    Returns:
        Tensor of shape `[B, C]`, the user.
    """

    def call(self, states, token_positions):
        return keras.ops.sum(states * token_positions, axis=1)

    def compute_output_shape(self, states_shape, token_positions_shape):
        return (states_shape[0], states_shape[2])
