"""The history as a set, beside the task token's state."""

import keras
from keras import ops

# Events that a summary reads where nothing else is said: it costs no convolution, so it sees
# much further back than those do.
EVENTS = 500
_EPSILON = 1e-8


@keras.saving.register_keras_serializable("keras_peterrec")
class HistorySummary(keras.layers.Layer):
    """The user: the task token's state and a linear map of the history's items.

        u = n(h) + s D,   s = Σ n(x_i) / √L,   n(x) = x / rms(x)

    h is the task token's hidden state, x_i are the L embedded items. A state that was taught to
    ask for the next item knows most of the latest ones; what a user is (a profile, a
    taste that lasts) is in all of them, in no order. D `[C, C]` starts at zero, so that a task
    starts with the token's state alone; what D is applied to does not depend on it: see
    `features`.

    Call arguments:
        features: Tensor of shape `[B, 2C]`, as `features` gives them.
        kernel: Tensor of shape `[B, C, C]`, a D of each row, or `None` for the layer's.

    Returns:
        Tensor of shape `[B, C]`.

    Source: not in the paper, whose user is h alone (Yuan et al., SIGIR 2020, section
    3.3). Sums of embedded items as a user: Covington et al., "Deep Neural Networks for
    YouTube Recommendations", RecSys 2016, section 3.2.
    """

    def build(self, input_shape):
        channels = input_shape[-1] // 2
        self.kernel = self.add_weight(
            name="kernel", shape=(channels, channels), initializer="zeros"
        )

    def call(self, features, kernel=None):
        state, summary = ops.split(features, 2, axis=-1)
        if kernel is None:
            return state + ops.matmul(summary, self.kernel)
        moved = ops.matmul(summary[:, None], ops.cast(kernel, summary.dtype))[:, 0]
        return state + moved

    @staticmethod
    def sums(embedded, padding_mask):
        """What `features` needs of embedded items `[B, L, C]` and their mask `[B, L, 1]`.

        Returns:
            `total` and `count`.
        """
        normalized = HistorySummary.normalized(embedded)
        return ops.sum(normalized * padding_mask, axis=1), ops.sum(padding_mask, axis=1)

    @staticmethod
    def features(state, total, count):
        """What a call reads.

        Args:
            state: Tensor of shape `[B, C]`, h.
            total: Tensor of shape `[B, C]`, the sum of `normalized` embedded items.
            count: Tensor of shape `[B, 1]`, how many items they are.
        """
        return ops.concatenate(
            [HistorySummary.normalized(state), total / ops.sqrt(ops.maximum(count, 1.0))], axis=-1
        )

    @staticmethod
    def normalized(inputs):
        """`n(x)` along the last axis; zeros stay zeros."""
        # In half precision squares overflow, and epsilon is zero.
        wide = ops.cast(inputs, "float32")
        mean_square = ops.mean(ops.square(wide), axis=-1, keepdims=True)
        return ops.cast(wide * ops.rsqrt(mean_square + _EPSILON), inputs.dtype)

    def compute_output_shape(self, features_shape, kernel_shape=None):
        return (features_shape[0], features_shape[1] // 2)
