"""Layer normalisation and ReLU in one."""

import functools

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_peterrec")
class NormalizedRelu(keras.layers.LayerNormalization):
    """`relu(LayerNorm(x))` over the channels, with a gradient written by hand.

        y = relu(γ · x̂ + β),   x̂ = (x - mean(x)) / sqrt(var(x) + ε)

    With g = γ · dy where y > 0 and 0 elsewhere, the gradient of the input is

        dx = (g - mean(g) - x̂ · mean(g · x̂)) / sqrt(var(x) + ε)

    Automatic differentiation goes through the mean and the variance separately.
    This form reads what it needs once, and a compiler can fuse it into two passes.
    It is computed in float32 at least.

    Args:
        epsilon: float. The ε of the formula. Defaults to `1e-8`.

    Call arguments:
        inputs: Tensor of shape `[..., C]`.
        in_loop: bool. Whether this is the loop over blocks of a training step. Defaults to
            `False`.

    Returns:
        Tensor of the shape of `inputs`.

    Example:

    >>> outputs = NormalizedRelu()(np.array([[1.0, 3.0]], "float32"))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[0.0, 1.0]]

    Source: Ba et al., "Layer normalization", 2016; ε as in the official PeterRec.
    """

    def __init__(self, epsilon: float = 1e-8, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs, in_loop=False):
        outputs = _normalized_relu(*self._precise(inputs), self.epsilon, _mean_for(in_loop))
        return ops.cast(outputs, self.compute_dtype)

    def normalized(self, inputs, in_loop=False):
        """Returns `γ · x̂ + β`, before the ReLU, for a patch that acts there."""
        inputs, gamma, beta = self._precise(inputs)
        centred, scale = _centred(inputs, self.epsilon, _mean_for(in_loop))
        return ops.cast(centred * scale * gamma + beta, self.compute_dtype)

    def _precise(self, inputs):
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        return tuple(ops.cast(value, dtype) for value in (inputs, self.gamma, self.beta))


def _normalized_relu(inputs, gamma, beta, epsilon, mean):
    @ops.custom_gradient
    def forward(inputs, gamma, beta):
        centred, scale = _centred(inputs, epsilon, mean)
        outputs = ops.relu(centred * scale * gamma + beta)

        def gradient(*args, upstream=None):
            # Keras hands it over by name or by position, depending on the backend.
            upstream = args[0] if upstream is None else upstream
            # Computed again from the inputs: a loop over blocks keeps every tensor that is read
            # here for each block, and writing one costs more than computing it.
            centred, scale = _centred(inputs, epsilon, mean)
            normed = centred * scale
            passed = ops.where(normed * gamma + beta > 0, upstream, ops.zeros_like(upstream))
            inner = passed * gamma
            d_inputs = scale * (inner - mean(inner) - normed * mean(inner * normed))
            others = tuple(range(len(inputs.shape) - 1))
            return d_inputs, ops.sum(passed * normed, axis=others), ops.sum(passed, axis=others)

        return outputs, gradient

    return forward(inputs, gamma, beta)


def _centred(inputs, epsilon, mean):
    """Returns the inputs minus their mean, and one over their standard deviation."""
    centred = inputs - mean(inputs)
    return centred, ops.rsqrt(mean(centred * centred) + epsilon)


def _mean_for(in_loop):
    """How to take means along the last axis.

    In the loop of a training step on a CPU they are products with a vector, for XLA adds up a row
    number by number. Everywhere else they are sums: a GPU may round the factors of a product, and
    an export is made on one machine and served on another.
    """
    return _mean_by_product if in_loop and _has_no_gpu() else _mean


def _mean(values):
    return ops.mean(values, axis=-1, keepdims=True)


def _mean_by_product(values):
    channels = values.shape[-1]
    return ops.matmul(values, ops.full((channels, 1), 1.0 / channels, dtype=values.dtype))


@functools.cache
def _has_no_gpu():
    import tensorflow as tf  # loops are for TensorFlow only

    return not tf.config.list_physical_devices("GPU")
