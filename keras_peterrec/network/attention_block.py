"""Block of pointwise attention within a window, with the sites where patches may act."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_peterrec.layers.hashed_dropout import HashedDropout
from keras_peterrec.network.block_network import AtSites, Block
from keras_peterrec.network.network import ACTIVATION, BRANCH, LINEAR, NORM, Site
from keras_peterrec.types import Json, Shape, Tensor, Variables

PARTS = 4  # the projection's: gate, value, query, key
BRANCH_GAIN = 0.2  # as of the convolution's branches
# In the order in which a block reaches them, and of which kind they are.
SITES = {
    "norm_1": NORM,
    "projection": LINEAR,
    "activation": ACTIVATION,
    "norm_2": NORM,
    "output": LINEAR,
    "branch": BRANCH,
}
# What is added to a score that should not count: silu of it is 0, and so is its gradient.
NEVER = -1e4


@keras.saving.register_keras_serializable("keras_peterrec")
class AttentionBlock(Block):
    """Pointwise attention whose gated result is added to the block's input.

        u, v, q, k = silu(W LN1(x) + b)
        a_i = Σ_j silu(q_i · k_j / √d + bias[i - j]) v_j
        return x + W_out (LN2(a) ⊙ u) + b_out

    j runs over the events of the same sequence with `0 <= i - j < window`, or `|i - j| < window`
    where it is not causal. Unlike softmax, the sum tells how many events matched, and padding,
    whose v is zero, adds nothing.

    A patch may act at six *sites*, reached in the order of `SITES`: after both norms, after both
    linear maps, after the activation of the first, and on the branch before it is added. `inputs`
    of a patch is what the linear map of its half read, `LN1(x)` or `LN2(a) ⊙ u`; at the norms
    themselves, x and a.

    Args:
        heads: int. In how many groups the channels attend.
        window: int. How many events are seen, the event itself included.
        causal: bool. Whether a position sees only itself and its past. Defaults to `True`.
        dropout: float. Rate of the dropout on the branch. Defaults to `0.0`.

    Call arguments and what it returns: see `Block`.

    Example:

    >>> block = AttentionBlock(heads=2, window=4)
    >>> block(np.ones((2, 10, 8), "float32"), np.ones((2, 10, 1), "float32")).shape
    (2, 10, 8)

    Source: Zhai et al., ICML 2024, section 3.2, equations 1 to 3.
    """

    def __init__(
        self, heads: int, window: int, causal: bool = True, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(causal, dropout, **kwargs)
        self.heads, self.window = heads, window

    def build(self, input_shape: Shape) -> None:
        channels, dtype = input_shape[-1], self.dtype_policy
        norm = {"epsilon": 1e-6, "dtype": dtype}
        self.norm_1 = keras.layers.LayerNormalization(name="norm_1", **norm)
        self.norm_2 = keras.layers.LayerNormalization(name="norm_2", **norm)
        self.projection = keras.layers.Dense(PARTS * channels, name="projection", dtype=dtype)
        small = keras.initializers.VarianceScaling(BRANCH_GAIN**2, "fan_avg", "uniform")
        self.output_map = keras.layers.Dense(
            channels, kernel_initializer=small, name="output", dtype=dtype
        )
        for layer in (self.norm_1, self.norm_2, self.projection, self.output_map):
            layer.build(input_shape)
        distances = self.window if self.causal else 2 * self.window - 1
        self.distance_bias = self.add_weight(
            name="distance_bias", shape=(self.heads, distances), initializer="zeros"
        )
        self.branch_dropout = HashedDropout(self.dropout, name="branch_dropout", dtype=dtype)

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None = None,
        patches: AtSites | None = None,
        training: bool | None = None,
        last: int | None = None,
    ) -> Tensor:
        if last is not None:
            inputs, padding_mask = (
                rows[:, -(last + self.reach) :] for rows in (inputs, padding_mask)
            )
        gate, value, query, key = self._projected(inputs, patches)
        value = value * padding_mask
        if last is None:
            attended = self._attended(query, key, value, sequence_ids)
        else:
            # So few positions see each other that they need not be cut into pieces.
            inputs, padding_mask, gate, query = (
                rows[:, -last:] for rows in (inputs, padding_mask, gate, query)
            )
            queries, keys = ops.shape(query)[1], ops.shape(key)[1]
            attended = self._summed(query, key, value, self._bias(queries, keys, keys - queries))
        branch = self._branch(attended, gate, patches) * padding_mask
        return inputs + self.branch_dropout(branch, training=training)

    def with_tokens(
        self,
        inputs: Tensor,
        tokens: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None = None,
        patches: AtSites | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor]:
        # A token attends to the positions before its own, and to itself in place of its own.
        gate, value, query, key = self._projected(inputs, patches)
        value = value * padding_mask
        attended = self._attended(query, key, value, sequence_ids)
        branch = self._branch(attended, gate, patches) * padding_mask
        gate, own, query, own_key = self._projected(tokens, patches)
        attended = self._attended(query, key, value, sequence_ids, nearest=1)
        attended = attended + self._of_itself(query, own_key, own)
        token = self._branch(attended, gate, patches)
        branch, token = (self.branch_dropout(part, training=training) for part in (branch, token))
        return inputs + branch, tokens + token

    def step(
        self,
        inputs: Tensor,
        keys: Tensor,
        values: Tensor,
        padding_mask: Tensor | None = None,
        patches: AtSites | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Computes the next positions of a causal block from the keys and values of earlier ones.

        Args:
            inputs: Tensor of shape `[B, n, C]`, the block's input at the positions.
            keys, values: Tensors of shape `[B, window - 1, C]`, oldest first. Zeros at the start,
                which add nothing.
            padding_mask: Tensor of shape `[B, n, 1]`, or `None` where all positions are real.
            patches: see a call.

        Returns:
            The block's outputs, and the keys and values of these positions, `[B, n, C]` each.
        """
        gate, value, query, key = self._projected(inputs, patches)
        if padding_mask is not None:
            value = value * padding_mask
        queries = inputs.shape[1]
        bias = self._bias(queries, queries + self.window - 1, self.window - 1)
        attended = self._summed_in_place(query, (keys, key), (values, value), bias)
        branch = self._branch(attended, gate, patches)
        if padding_mask is not None:
            branch = branch * padding_mask
        return inputs + branch, (key, value)

    def _projected(self, inputs, patches):
        """Gate, value, query and key, `[..., C]` each."""
        normalized = _patched(patches, "norm_1", inputs, self.norm_1(inputs))
        projected = self.projection(normalized)
        projected = _patched(patches, "projection", normalized, projected)
        activated = _patched(patches, "activation", normalized, _silu(projected))
        return ops.split(activated, PARTS, axis=-1)

    def _branch(self, attended, gate, patches):
        normalized = _patched(patches, "norm_2", attended, self.norm_2(attended))
        gated = normalized * gate
        branch = _patched(patches, "output", gated, self.output_map(gated))
        return _patched(patches, "branch", gated, branch)

    def _attended(self, query, key, value, sequence_ids, nearest=0):
        """What each position takes of those that it sees, `[B, L, C]`.

        A row of up to a window is one piece. A longer one is cut into pieces as long as the window;
        then the positions of a piece see no further than the piece before (and the one after).

        Args:
            nearest: int. The least distance that is seen.
        """
        length = ops.shape(query)[1]
        is_known = isinstance(length, int)  # in a served graph it is not
        if is_known and length <= self.window:
            bias = self._bias(length, length, 0, nearest)
            return self._summed(query, key, value, bias, sequence_ids, sequence_ids)
        piece = self.window if is_known else ops.maximum(ops.minimum(length, self.window), 1)
        count = -(-length // piece)
        beyond = count * piece - length

        def pieces(rows):
            width = [rows.shape[-1]] if len(rows.shape) == 3 else []
            ends = [[0, 0], [0, beyond]] + [[0, 0]] * len(width)
            return ops.reshape(ops.pad(rows, ends), [-1, count, piece, *width])

        def with_neighbours(rows):
            # Nothing lies beyond the ends: values of zero, so that ids and keys there do not count.
            rows = pieces(rows)
            none = ops.zeros_like(rows[:, :1])
            around = [ops.concatenate([none, rows[:, :-1]], axis=1), rows]
            if not self.causal:
                around.append(ops.concatenate([rows[:, 1:], none], axis=1))
            return ops.concatenate(around, axis=2)

        keys, values = with_neighbours(key), with_neighbours(value)
        bias = self._bias(piece, (2 if self.causal else 3) * piece, piece, nearest)
        ids = () if sequence_ids is None else (pieces(sequence_ids), with_neighbours(sequence_ids))
        attended = self._summed(pieces(query), keys, values, bias, *ids)
        attended = ops.reshape(attended, [-1, count * piece, query.shape[-1]])
        return attended[:, :length]

    def _bias(self, queries, keys, first, nearest=0):
        """What is added to the scores, `[H, queries, keys]`.

        Args:
            first: int. The key at whose position the first query stands.
        """
        distances = first + ops.arange(queries)[:, None] - ops.arange(keys)[None, :]
        farthest = self.window - 1
        least = nearest if self.causal else -farthest
        places = ops.clip(distances, least, farthest)
        if not self.causal:
            places = places + farthest
        bias = ops.take(ops.cast(self.distance_bias, self.compute_dtype), places, axis=1)
        seen = ops.logical_and(distances >= least, distances <= farthest)
        return ops.where(seen, bias, ops.cast(NEVER, bias.dtype))

    def _summed(self, query, keys, values, bias, ids=None, key_ids=None):
        """`Σ_j silu(q_i · k_j / √d + bias) v_j` over the axis before the last, for each head."""
        query, keys, values = (self._by_head(rows) for rows in (query, keys, values))
        scale = query.shape[-1] ** -0.5
        scores = ops.matmul(query * scale, ops.swapaxes(keys, -1, -2)) + bias
        if ids is not None:
            same = ids[..., :, None] == key_ids[..., None, :]
            same = ops.expand_dims(same, -3)
            scores = ops.where(same, scores, ops.cast(NEVER, scores.dtype))
        summed = ops.swapaxes(ops.matmul(_silu(scores), values), -2, -3)
        shape = [-1, *ops.shape(summed)[1:-2], self.heads * summed.shape[-1]]
        return ops.reshape(summed, shape)

    def _summed_in_place(self, query, keys, values, bias):
        """As `_summed`, for a few queries, with earlier keys and values and those of the queries.

        The earlier ones are many times what is asked of them, so they are not copied to lie by
        head, nor to have the others beside them: each head's query is as wide as all channels, with
        zeros where others are.
        """
        count, channels = query.shape[1:]
        width = channels // self.heads
        own = np.repeat(np.eye(self.heads), width, axis=1)  # [H, C]: which channels are a head's
        own = ops.convert_to_tensor(own, dtype=query.dtype)
        wide = ops.reshape(
            query[:, :, None] * (own * width**-0.5), [-1, count * self.heads, channels]
        )
        scores = [ops.matmul(wide, ops.swapaxes(rows, -1, -2)) for rows in keys]
        scores = ops.concatenate(scores, axis=-1)
        scores = scores + ops.reshape(ops.swapaxes(bias, 0, 1), [count * self.heads, -1])
        weights, before = _silu(scores), self.window - 1
        summed = ops.matmul(weights[..., :before], values[0])
        summed = summed + ops.matmul(weights[..., before:], values[1])
        return ops.sum(ops.reshape(summed, [-1, count, self.heads, channels]) * own, axis=2)

    def _by_head(self, rows):
        """`[..., T, C]` as `[..., H, T, C / H]`."""
        width = rows.shape[-1] // self.heads
        shape = [-1, *ops.shape(rows)[1:-1], self.heads, width]
        return ops.swapaxes(ops.reshape(rows, shape), -2, -3)

    def _of_itself(self, query, key, value):
        """What a token takes of itself, `[B, L, C]`."""
        shape = [-1, *ops.shape(query)[1:-1], self.heads, query.shape[-1] // self.heads]
        products = ops.reshape(query * key, shape)
        scores = ops.sum(products, axis=-1, keepdims=True) * shape[-1] ** -0.5
        weights = _silu(scores + ops.cast(self.distance_bias[:, :1], scores.dtype))
        taken = weights * ops.reshape(value, shape)
        return ops.reshape(taken, [-1, *ops.shape(query)[1:]])

    @property
    def reach(self) -> int:
        return self.window - 1

    @property
    def sites(self) -> dict[str, Site]:
        channels = self.norm_1.gamma.shape[0]
        wide = ("projection", "activation")
        return {
            site: Site(kind, channels, PARTS * channels if site in wide else channels, channels)
            for site, kind in SITES.items()
        }

    def foldable(self, site: str) -> Variables:
        layers = {"projection": self.projection, "output": self.output_map}
        if site in layers:
            return {name: getattr(layers[site], name) for name in ("kernel", "bias")}
        norm = {"norm_1": self.norm_1, "norm_2": self.norm_2}[site]
        return {name: getattr(norm, name) for name in ("gamma", "beta")}

    def get_config(self) -> Json:
        return {**super().get_config(), "heads": self.heads, "window": self.window}


def _patched(patches, site, inputs, outputs):
    patch = (patches or {}).get(site)
    return outputs if patch is None else patch(inputs, outputs, seen=lambda: inputs)


def _silu(x):
    # TensorFlow's own has a gradient that an export cannot hold, about which loading it would warn.
    return x * ops.sigmoid(x)
