"""What every patch at a site is."""

import keras
from keras import ops


class PatchLayer(keras.layers.Layer):
    """A small layer at one site of a residual block: `patch(inputs, outputs) -> outputs`.

    A subclass makes its weights in `build` and says in `apply` what it does with them.
    Weights are handed to `apply`, so that one pass can use those of another task for
    every row: a matrix may come as `[..., M, N]` or `[B, ..., M, N]`, a vector as `[N]`
    or `[B, 1, N]`, and `apply` should be true for both. A new patch must change nothing.

    An *affine* patch can be folded into the layer before the sites of `fold_sites`: a
    convolution or a normalisation.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`, what the site's convolution read.
        outputs: Tensor of shape `[B, L, C]`, what came out at the site.

    Returns:
        Tensor of shape `[B, L, C]`.
    """

    fold_sites = ()

    def apply(self, weights, inputs, outputs):
        """`outputs`, changed by `weights` of the names of `named_weights`."""
        raise NotImplementedError

    def apply_step(self, weights, inputs, seen, outputs):
        """`apply` at positions whose neighbours are not beside them.

        Args:
            weights: As of `apply`.
            inputs: Tensor of shape `[..., C]`, what the site's convolution read there.
            seen: Tensor of shape `[..., k·C]`, what its taps see, side by side.
            outputs: Tensor of shape `[..., C]`.
        """
        return self.apply(weights, inputs, outputs)

    def named_weights(self):
        """The patch's weights by name, the same in every process."""
        return {weight.name: weight for weight in self.weights}

    def fold(self, weights, layer):
        """The weights of the layer before the site, changed as the patch would have.

        Args:
            weights: dict from name to array, of the patch.
            layer: dict from name to array: `kernel` `[k, C, C]` and `bias` `[C]` of a
                convolution, or `gamma` and `beta` `[C]` of a normalisation.

        Returns:
            dict like `layer`. Only affine patches can tell.
        """
        raise NotImplementedError

    def call(self, inputs, outputs):
        return with_weights(self.apply, self.named_weights())(inputs, outputs)

    def compute_output_shape(self, inputs_shape, outputs_shape):
        return outputs_shape


def with_weights(apply, weights):
    """`apply` or `apply_step` of a patch as a callable of what is read and what came out.

    Args:
        apply: Callable `(weights, ..., outputs) -> outputs`.
        weights: dict from name to tensor, cast to the type of the outputs.
    """

    def act(*values):
        cast = {name: ops.cast(weight, values[-1].dtype) for name, weight in weights.items()}
        return apply(cast, *values)

    return act
