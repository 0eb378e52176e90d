"""Layer normalisation and ReLU in one."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.types import Tensor


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

    Returns:
        Tensor of the shape of `inputs`.

    Example:

    >>> outputs = NormalizedRelu()(np.array([[1.0, 3.0]], "float32"))
    >>> keras.ops.convert_to_numpy(outputs).tolist()
    [[0.0, 1.0]]

    Source: Ba et al., "Layer normalization", 2016; ε as in the official PeterRec.
    """

    def __init__(self, epsilon: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        inputs, gamma, beta = self._precise(inputs)
        outputs = _normalized_relu(inputs, gamma, beta, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)

    def normalized(self, inputs: Tensor) -> Tensor:
        """Returns `γ · x̂ + β`, before the ReLU, for a patch that acts there."""
        inputs, gamma, beta = self._precise(inputs)
        centred, scale = _centred(inputs, self.epsilon)
        return ops.cast(centred * scale * gamma + beta, self.compute_dtype)

    def _precise(self, inputs):
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        return tuple(ops.cast(value, dtype) for value in (inputs, self.gamma, self.beta))


def _normalized_relu(inputs, gamma, beta, epsilon):
    @ops.custom_gradient
    def forward(inputs, gamma, beta):
        centred, scale = _centred(inputs, epsilon)
        outputs = ops.relu(centred * scale * gamma + beta)

        def gradient(*args, upstream=None):
            # Keras hands it over by name or by position, depending on the backend.
            upstream = args[0] if upstream is None else upstream
            # Computed again from the inputs: to keep a tensor for it, for each block, costs more
            # than to compute it.
            centred, scale = _centred(inputs, epsilon)
            normed = centred * scale
            passed = ops.where(normed * gamma + beta > 0, upstream, ops.zeros_like(upstream))
            inner = passed * gamma
            d_inputs = scale * (inner - _mean(inner) - normed * _mean(inner * normed))
            others = tuple(range(len(inputs.shape) - 1))
            return d_inputs, ops.sum(passed * normed, axis=others), ops.sum(passed, axis=others)

        return outputs, gradient

    return forward(inputs, gamma, beta)


def _centred(inputs, epsilon):
    """Returns the inputs minus their mean, and one over their standard deviation."""
    centred = inputs - _mean(inputs)
    return centred, ops.rsqrt(_mean(centred * centred) + epsilon)


def _mean(values):
    return ops.mean(values, axis=-1, keepdims=True)
