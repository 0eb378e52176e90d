"""A network of a user's own: in each block, a sum of the past that a gate lets fade."""

import keras
from keras import ops

from keras_peterrec.errors import InputError
from keras_peterrec.network.network import BRANCH, LINEAR, Network, Site, patch_at


@keras.saving.register_keras_serializable("tests")
class GatedSum(Network):
    """For each block `h_t = f_t h_(t-1) + (1 - f_t) value(x_t)` and `x = x + tanh(h)`.

    Causal, without an end to how far it sees, and a user's state is one vector a block.
    """

    def __init__(self, vocabulary_size, blocks=2, causal=True, **settings):
        if not causal:
            raise InputError("`objective` should be causal with this network.")
        self.count = blocks
        super().__init__(vocabulary_size, causal=causal, **settings)

    def make_layers(self, dtype):
        numbers, dense = range(1, self.count + 1), keras.layers.Dense
        self.gates = [dense(1, "sigmoid", name=f"gate_{n}", dtype=dtype) for n in numbers]
        self.values = [dense(self.hidden_dim, name=f"value_{n}", dtype=dtype) for n in numbers]

    def run(self, states, padding_mask, sequence_ids=None, patches=None, training=None):
        for n in range(self.count):
            states, _ = self._block(n, states, padding_mask, sequence_ids, patches)
        return states

    @property
    def state_rows(self):
        return self.count

    def advance(self, memory, states, kept, padding_mask=None, patches=None):
        real, rows = ops.ones_like(states[..., :1]) if padding_mask is None else padding_mask, []
        for n in range(self.count):
            before = memory[:, n : n + 1]
            states, sums = self._block(n, states, real, None, patches, before)
            rows.append(sums[:, kept - 1 : kept] if kept else before)
        return states, ops.concatenate(rows, axis=1)

    def _block(self, n, x, mask, sequence_ids, patches, before=None):
        gate, place = self.gates[n](x), f"block_{n + 1}"
        value = patch_at(patches, place, "value")(x, self.values[n](x), seen=lambda: x)
        order = ops.cumsum(ops.ones_like(mask[..., 0]), axis=1)
        sees = order[:, :, None] >= order[:, None, :]
        if sequence_ids is not None:
            sees = ops.logical_and(sees, sequence_ids[:, :, None] == sequence_ids[:, None, :])
        fade = ops.cumsum(ops.log(gate + 1e-6) * mask, axis=1)  # padding lets all pass
        faded = ops.where(sees, fade - ops.transpose(fade, (0, 2, 1)), -1e4)
        sums = ops.matmul(ops.exp(faded), (1 - gate) * value * mask)
        if before is not None:
            sums = sums + ops.exp(fade) * before
        branch = patch_at(patches, place, "branch")(x, ops.tanh(sums), seen=lambda: x)
        return x + branch * mask, sums

    @property
    def sites(self):
        C = self.hidden_dim
        of_block = {"value": Site(LINEAR, C, C, C), "branch": Site(BRANCH, C, C, C)}
        return {f"block_{n + 1}": of_block for n in range(self.count)}

    def foldable(self, place, site):
        layer = self.values[int(place.removeprefix("block_")) - 1]
        return {"kernel": layer.kernel, "bias": layer.bias}

    def last_weights(self, count):
        layers = self.gates[-count:] + self.values[-count:]
        return [weight for layer in layers for weight in layer.weights]

    def get_config(self):
        return {**super().get_config(), "blocks": self.count}
