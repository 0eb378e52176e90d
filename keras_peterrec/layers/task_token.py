"""The task token, TCL."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_peterrec")
class TaskToken(keras.layers.Layer):
    """Puts the task token beside a sequence; its hidden state is the user.

    In a causal network the token stands after the last item, where all of the
    history can be seen; in a bidirectional one there is another just before the
    first real item, behind any padding.

    Args:
        causal: bool. Whether the token stands at the end only, or at both ends.
            Defaults to `True`.
        initializer: Initializer of the token. Defaults to a normal distribution
            of standard deviation 0.02.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`, the embedded history, padded on the
            left.
        padding_mask: Tensor of shape `[B, L, 1]`.

    Returns:
        A tuple of the sequence with the token, `[B, L', C]`, its padding mask,
        `[B, L', 1]`, and `token_positions`, `[B, L', 1]`, which is one where a
        token stands. L' is L + 1 (causal) or L + 2.

    Source: Yuan et al., SIGIR 2020, section 3.3 ("[TCL]") and Fig. 2.
    """

    def __init__(self, causal=True, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.causal = causal
        self.initializer = keras.initializers.get(
            initializer or keras.initializers.RandomNormal(stddev=0.02)
        )

    def build(self, input_shape):
        self.token = self.add_weight(
            name="token", shape=(input_shape[-1],), initializer=self.initializer
        )

    def call(self, inputs, padding_mask):
        at_end = ops.ones_like(padding_mask[:, :1])
        positions = ops.concatenate([ops.zeros_like(padding_mask), at_end], axis=1)
        if not self.causal:
            # A column of padding on the left makes room; the token stands where
            # padding is followed by something real (the last token, if need be).
            room = [[0, 0], [1, 0], [0, 0]]
            inputs, padding_mask = ops.pad(inputs, room), ops.pad(padding_mask, room)
            following = ops.concatenate([padding_mask[:, 1:], at_end], axis=1)
            starts = following * (1 - padding_mask)
            positions = ops.concatenate([starts, at_end], axis=1)
        room = [[0, 0], [0, 1], [0, 0]]
        token = ops.cast(self.token, inputs.dtype)
        sequence = ops.pad(inputs, room) + positions * token
        return sequence, ops.pad(padding_mask, room) + positions, positions

    def compute_output_spec(self, inputs, padding_mask):
        batch, length, channels = inputs.shape
        longer = None if length is None else length + (1 if self.causal else 2)
        shapes = (batch, longer, channels), (batch, longer, 1), (batch, longer, 1)
        return tuple(keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in shapes)

    def get_config(self):
        return {
            **super().get_config(),
            "causal": self.causal,
            "initializer": keras.initializers.serialize(self.initializer),
        }
