"""The history as a set, next to the task token's state."""

import math

import keras
from keras import ops

# Events that a summary reads where nothing else is said: it costs no convolution, so it sees
# much further back than those do.
EVENTS = 200
# Frequencies for each channel, and how fast they turn: with more, and faster ones, items that
# are alike to the host are told apart.
FREQUENCIES = 4
_SPEED = 2.0
# Multiples of a fraction near the golden ratio are spread evenly, and those of an integer
# over a prime are the same on every machine.
_PRIME, _TURN, _SHIFT = 16_381, 10_124, 6_257
_EPSILON = 1e-8


@keras.saving.register_keras_serializable("keras_peterrec")
class HistorySums(keras.layers.Layer):
    """Sums of Fourier features of a history's items, in no order.

        φ_j(x) = √(2C/F) (sin(g w_j · n(x) + b_j) - e^(-g²/2) sin b_j),   j = 1, ..., F
        n(x) = x / rms(x)

    A sum of the C channels themselves would tell C numbers of the items; φ, F = 4C features of
    fixed frequencies, tells more of which they were, as a kernel would: two items count as one
    the more alike the host finds them. The second term of φ is what a random item would give.
    `sin` here means parabolas through its zeros and its peaks: a fifth of the time. The layer
    has no weights; frequencies are computed where they are read, so that a SavedModel does
    not hold them once for every task.

    Call arguments:
        embedded: Tensor of shape `[B, L, C]`, embedded items.
        padding_mask: Tensor of shape `[B, L, 1]`, one where there is an item.

    Returns:
        `total`, `[B, F]`, and `count` of the items, `[B, 1]`, float32.

    Source: not in the paper. Rahimi and Recht, "Random Features for Large-Scale Kernel
    Machines", NIPS 2007; theirs are random, here w_j and b_j are multiples of fixed fractions.
    """

    def call(self, embedded, padding_mask):
        mask = ops.cast(padding_mask, "float32")
        return ops.sum(self.waves(embedded) * mask, axis=1), ops.sum(mask, axis=1)

    def before(self, embedded, padding_mask, sequence_ids, cuts, events=None):
        """The sums of the last events before each of several cuts of a history.

        Args:
            embedded: Tensor of shape `[B, L, C]`, embedded items of one or more histories a row.
            padding_mask: Tensor of shape `[B, L, 1]`.
            sequence_ids: int32 tensor of shape `[B, L]`. Positions with the number of a cut are
                of its history.
            cuts: int32 tensor of shape `[B, S]`, positions. The sums are of what stands before.
            events: int or `None`. How many of the last events are summed. Defaults to `None`, all.

        Returns:
            `total`, `[B, S, F]`, and `count`, `[B, S, 1]`, float32.
        """
        # A product with zeros and ones: differences of running sums would be less precise.
        back = ops.expand_dims(cuts, -1) - ops.arange(ops.shape(embedded)[1], dtype="int32")
        own = ops.expand_dims(ops.take_along_axis(sequence_ids, cuts, axis=1), -1)
        chosen = (back > 0) & (ops.expand_dims(sequence_ids, 1) == own)
        if events is not None:
            chosen = chosen & (back <= events)
        real = ops.swapaxes(ops.cast(padding_mask, "float32"), 1, 2)  # [B, 1, L]
        chosen = ops.cast(chosen, "float32") * real  # [B, S, L]
        return ops.matmul(chosen, self.waves(embedded)), ops.sum(chosen, axis=-1, keepdims=True)

    @staticmethod
    def waves(embedded):
        """`φ(x)` along the last axis, float32 `[..., F]`."""
        channels = embedded.shape[-1]
        channel = ops.arange(1, channels + 1, dtype="int32")[:, None]
        wave = ops.arange(1, FREQUENCIES * channels + 1, dtype="int32")
        frequencies = _sine(_turns(channel * wave % _PRIME, _TURN))
        shifts = _turns(wave, _SHIFT)
        scale = _SPEED / (2 * math.pi) * math.sqrt(2 / channels)
        turns = ops.matmul(normalized(ops.cast(embedded, "float32")), scale * frequencies) + shifts
        of_any = math.exp(-(_SPEED**2) / 2) * _sine(shifts)
        return math.sqrt(2 / FREQUENCIES) * (_sine(turns) - of_any)

    def compute_output_shape(self, embedded_shape, padding_mask_shape):
        return (embedded_shape[0], FREQUENCIES * embedded_shape[2]), (embedded_shape[0], 1)

    def compute_output_spec(self, embedded, padding_mask):
        total, count = self.compute_output_shape(embedded.shape, padding_mask.shape)
        return keras.KerasTensor(total, "float32"), keras.KerasTensor(count, "float32")


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


def normalized(inputs):
    """`n(x)` along the last axis; zeros stay zeros."""
    # In half precision squares overflow, and epsilon is zero.
    wide = ops.cast(inputs, "float32")
    mean_square = ops.mean(ops.square(wide), axis=-1, keepdims=True)
    return ops.cast(wide * ops.rsqrt(mean_square + _EPSILON), inputs.dtype)


def _turns(number, step):
    """Angles, in turns, after `number` steps of so many parts of one."""
    return ops.cast(number * step % _PRIME, "float32") / _PRIME


def _sine(turns):
    part = turns - ops.floor(turns + 0.5)
    return 16.0 * part * (0.5 - ops.abs(part))
