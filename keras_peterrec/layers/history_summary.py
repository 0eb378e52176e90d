"""The history as a set, beside the task token's state."""

import keras
from keras import ops

from keras_peterrec.layers.history_sums import FREQUENCIES, normalized

# Events that a summary reads where nothing else is said: it costs no convolution, so it sees
# much further back than those do.
EVENTS = 200


@keras.saving.register_keras_serializable("keras_peterrec")
class HistorySummary(keras.layers.Layer):
    """The user: the task token's state and a linear map of the history's items.

        u = n(h) + s D,   s = Σ φ(x_i) / √L,   n(h) = h / rms(h)

    h is the task token's hidden state, x_i are the L embedded items and φ their F = 4C
    features, see `HistorySums`. A state that was taught to ask for the next item knows most of
    the latest ones; what a user is (a profile, a taste that lasts) is in all of them, in no
    order. D `[F, C]` starts at zero, so that a task starts with the token's state alone; what D
    is applied to does not depend on it: see `features`.

    Call arguments:
        features: Tensor of shape `[B, C + F]`, as `features` gives them.
        kernel: Tensor of shape `[B, F, C]`, a D of each row, or `None` for the layer's.

    Returns:
        Tensor of shape `[B, C]`.

    Source: not in the paper, whose user is h alone (Yuan et al., SIGIR 2020, section
    3.3). Sums over the items as a user: Covington et al., "Deep Neural Networks for
    YouTube Recommendations", RecSys 2016, section 3.2.
    """

    def build(self, input_shape):
        channels = input_shape[-1] // (1 + FREQUENCIES)
        self.kernel = self.add_weight(
            name="kernel", shape=(FREQUENCIES * channels, channels), initializer="zeros"
        )

    def call(self, features, kernel=None):
        channels = features.shape[-1] // (1 + FREQUENCIES)
        state, summary = features[:, :channels], features[:, channels:]
        if kernel is None:
            return state + ops.matmul(summary, self.kernel)
        moved = ops.matmul(summary[:, None], ops.cast(kernel, summary.dtype))[:, 0]
        return state + moved

    @staticmethod
    def width(channels):
        """Numbers that a call reads of a user, C + F."""
        return (1 + FREQUENCIES) * channels

    @staticmethod
    def features(state, total, count):
        """What a call reads.

        Args:
            state: Tensor of shape `[B, C]`, h.
            total, count: as `HistorySums` gives them.
        """
        summary = ops.cast(total / ops.sqrt(ops.maximum(count, 1.0)), state.dtype)
        return ops.concatenate([normalized(state), summary], axis=-1)

    def compute_output_shape(self, features_shape, kernel_shape=None):
        return (features_shape[0], features_shape[1] // (1 + FREQUENCIES))
