"""A scale and a shift of the channels."""

import keras

from keras_peterrec.layers.sites import CONVOLUTION_SITES, NORM_SITES
from keras_peterrec.patches.patch_layer import PatchLayer


@keras.saving.register_keras_serializable("keras_peterrec")
class AffinePatch(PatchLayer):
    """Scales and shifts what comes out at a site, channel by channel.

        outputs ← outputs · scale + shift

    The scale starts at one and the shift at zero, so a new patch changes nothing.
    It is affine: a scale and a shift of a convolution or a normalisation are one of
    its own.

    Args:
        scale: bool. Whether there is a scale. Defaults to `True`.
        shift: bool. Whether there is a shift. Defaults to `True`.

    Raises:
        ValueError: there is neither.
    """

    fold_sites = CONVOLUTION_SITES + NORM_SITES

    def __init__(self, scale=True, shift=True, **kwargs):
        super().__init__(**kwargs)
        if not (scale or shift):
            raise ValueError(
                "`scale` or `shift` should be True. "
                f"Received: `scale` = {scale!r}, `shift` = {shift!r}."
            )
        self.scale = scale
        self.shift = shift

    def build(self, inputs_shape, outputs_shape):
        if self.scale:
            self.add_weight(name="scale", shape=outputs_shape[-1:], initializer="ones")
        if self.shift:
            self.add_weight(name="shift", shape=outputs_shape[-1:], initializer="zeros")

    def apply(self, weights, inputs, outputs):
        if self.scale:
            outputs = outputs * weights["scale"]
        if self.shift:
            outputs = outputs + weights["shift"]
        return outputs

    def fold(self, weights, layer):
        scale, shift = weights.get("scale", 1.0), weights.get("shift", 0.0)
        # The first of the two is a factor of the outputs, the second a sum.
        (factor, product), (term, value) = layer.items()
        return {factor: product * scale, term: value * scale + shift}

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "shift": self.shift}
