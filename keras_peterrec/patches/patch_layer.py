"""The base class of the layers that act at the sites of a residual block."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


class PatchLayer(keras.layers.Layer):
    """A small layer at one site of a residual block: `patch(inputs, outputs) -> outputs`.

    A subclass makes its weights in `build` and uses them in `apply`. The weights are an
    argument of `apply`, so that one pass can use the weights of another task in each row: a
    matrix may come as `[..., M, N]` or `[B, ..., M, N]`, a vector as `[N]` or `[B, 1, N]`,
    and `apply` should be right for both. A new patch must not change the outputs.

    An *affine* patch can be folded into the convolution or the normalisation before the
    sites named in `fold_sites`.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`. What the convolution of the site read.
        outputs: Tensor of shape `[B, L, C]`. What came out at the site.

    Returns:
        Tensor of shape `[B, L, C]`.
    """

    fold_sites: Sequence[str] = ()

    def apply(self, weights: dict[str, Any], inputs: Any, outputs: Any) -> Any:
        """Returns `outputs` as changed by `weights`, which have the names of `named_weights`."""
        raise NotImplementedError

    def apply_step(self, weights: dict[str, Any], inputs: Any, seen: Any, outputs: Any) -> Any:
        """Does what `apply` does, at positions whose neighbours are not beside them.

        Args:
            weights: dict. See `apply`.
            inputs: Tensor of shape `[..., C]`. What the convolution of the site read there.
            seen: Tensor of shape `[..., k·C]`. What the taps of its kernel see, side by side.
            outputs: Tensor of shape `[..., C]`. What came out at the site.
        """
        return self.apply(weights, inputs, outputs)

    def named_weights(self) -> dict[str, Any]:
        """The patch's weights by name. The names are the same in every process."""
        return {weight.name: weight for weight in self.weights}

    def fold(self, weights: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
        """Folds an affine patch into the layer before the site.

        Args:
            weights: dict of arrays. The patch's weights by name.
            layer: dict of arrays. `kernel` `[k, C, C]` and `bias` `[C]` of a convolution, or
                `gamma` and `beta` `[C]` of a normalisation.

        Returns:
            dict like `layer`, with the values that give the same outputs without the patch.
        """
        raise NotImplementedError

    def call(self, inputs, outputs):
        return with_weights(self.apply, self.named_weights())(inputs, outputs)

    def compute_output_shape(self, inputs_shape, outputs_shape):
        return outputs_shape


def with_weights(apply: Callable, weights: dict[str, Any]) -> Callable:
    """Binds weights to a patch's `apply` or `apply_step`.

    Args:
        apply: callable. `(weights, ..., outputs) -> outputs`.
        weights: dict of tensors. They are cast to the type of the outputs.

    Returns:
        callable. `(..., outputs) -> outputs`.
    """

    def act(*values):
        cast = {name: ops.cast(weight, values[-1].dtype) for name, weight in weights.items()}
        return apply(cast, *values)

    return act


def bound_step(patch: PatchLayer) -> Callable:
    """A patch in the form of `ResidualBlock.step`: `(inputs, seen, outputs) -> outputs`."""
    return with_weights(patch.apply_step, patch.named_weights())
