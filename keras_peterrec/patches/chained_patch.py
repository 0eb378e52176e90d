"""Several patches at one site."""

import keras

from keras_peterrec.layers.sites import SITES
from keras_peterrec.patches.patch_layer import PatchLayer


@keras.saving.register_keras_serializable("keras_peterrec")
class ChainedPatch(PatchLayer):
    """Patches one after the other at one site; each changes what the one before gave.

    Weights are named `0/...`, `1/...` by the place of their patch.

    Args:
        patches: list of PatchLayer.
    """

    def __init__(self, patches, **kwargs):
        super().__init__(**kwargs)
        self.patches = list(patches)

    @property
    def fold_sites(self):
        """Where all of them can be folded."""
        return [s for s in SITES if all(s in patch.fold_sites for patch in self.patches)]

    def build(self, inputs_shape, outputs_shape):
        for patch in self.patches:
            if not patch.built:  # as those are that Keras has read
                patch.build(inputs_shape, outputs_shape)

    def named_weights(self):
        return {
            f"{number}/{name}": weight
            for number, patch in enumerate(self.patches)
            for name, weight in patch.named_weights().items()
        }

    def apply(self, weights, inputs, outputs):
        for number, patch in enumerate(self.patches):
            outputs = patch.apply(_of(number, weights), inputs, outputs)
        return outputs

    def apply_step(self, weights, inputs, seen, outputs):
        for number, patch in enumerate(self.patches):
            outputs = patch.apply_step(_of(number, weights), inputs, seen, outputs)
        return outputs

    def fold(self, weights, layer):
        for number, patch in enumerate(self.patches):
            layer = patch.fold(_of(number, weights), layer)
        return layer

    def get_config(self):
        patches = [keras.saving.serialize_keras_object(patch) for patch in self.patches]
        return {**super().get_config(), "patches": patches}

    @classmethod
    def from_config(cls, config):
        patches = map(keras.saving.deserialize_keras_object, config["patches"])
        return cls(**{**config, "patches": list(patches)})


def _of(number, weights):
    start = f"{number}/"
    return {
        name.removeprefix(start): weight
        for name, weight in weights.items()
        if name.startswith(start)
    }
