"""A causal host that goes from position to position."""

from keras import ops

from keras_peterrec.data.special_ids import PAD
from keras_peterrec.errors import InputError


class IncrementalHost:
    """The blocks of a causal host at a few positions at a time, with the patches given.

    What `IncrementalTask` and `IncrementalTasks` share; see there for what a state is.

    Args:
        host: Backbone, causal.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(self, host):
        if not host.causal:
            raise InputError(
                "`model` should stand on a causal host. Received: one on a masked host, "
                "whose states change with every later event."
            )
        self.host = host
        self._reaches = [
            convolution.reach for block in host.blocks for convolution in block.convolutions
        ]

    @property
    def state_shape(self):
        """`(S, C)` of one user."""
        return sum(self._reaches), self.host.hidden_dim

    def start(self, users):
        """States of users without events, `[B, S, C]`."""
        dtype = self.host.item_embedding.compute_dtype
        return ops.zeros((users, *self.state_shape), dtype=dtype)

    def append(self, state, items, patches):
        """The states after one more event.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]`; 0 where there is none.
            patches: Callable from a block and a number of positions to the block's patches
                as `ResidualBlock.step` takes them.
        """
        embedded, comes = self._embedded(items)
        _, windows = self._advance(embedded, state, patches)
        return ops.where(comes, self._moved(windows), state)

    def users(self, state, tokens, pooling, patches):
        """Users `[B, C]`: steps of the tokens `[B or 1, n, C]`, whose states are not kept."""
        tokens = _of_all(tokens, state)
        states, _ = self._advance(tokens, state, patches)
        return pooling(states, ops.ones_like(states[..., :1]))

    def step(self, state, items, tokens, pooling, patches):
        """`append` and then `users` in one pass over all the positions.

        Where there is no event the tokens stand one position earlier, where the event would
        have stood, and what comes of the position left over is not read.
        """
        embedded, comes = self._embedded(items)
        tokens = _of_all(tokens, state)
        early = ops.concatenate([tokens, tokens[:, -1:]], axis=1)
        late = ops.concatenate([embedded, tokens], axis=1)
        states, windows = self._advance(ops.where(comes, late, early), state, patches)
        read = ops.where(comes, states[:, 1:], states[:, :-1])
        state = ops.where(comes, self._moved(windows), state)
        return state, pooling(read, ops.ones_like(read[..., :1]))

    def _embedded(self, items):
        """The items' rows, `[B, 1, C]`, and where there is one, `[B, 1, 1]`."""
        items = ops.convert_to_tensor(items, dtype="int32")
        return self.host.item_embedding(items[:, None]), (items != PAD)[:, None, None]

    def _advance(self, states, memory, patches):
        """Positions `[B, n, C]` through all blocks.

        Returns:
            Their states `[B, n, C]`, and for each convolution the inputs it remembered with
            the new ones behind them, `[B, reach + n, C]`.
        """
        _, count, channels = states.shape
        ends = [sum(self._reaches[: n + 1]) for n in range(len(self._reaches))]
        windows, longer = ops.split(memory, ends[:-1], axis=1), []
        flat = ops.reshape(states, (-1, channels))
        for number, block in enumerate(self.host.blocks):
            mine = windows[2 * number : 2 * number + 2]
            flat, inputs = block.step(flat, mine, count, patches(block, count))
            longer += inputs
        return ops.reshape(flat, (-1, count, channels)), longer

    def _moved(self, windows):
        """The states that remember the first of the new inputs, `[B, S, C]`."""
        rows, start = [], 1
        for reach, window in zip(self._reaches, windows):
            rows += range(start, start + reach)
            start += window.shape[1]
        return ops.take(ops.concatenate(windows, axis=1), rows, axis=1)


def _of_all(tokens, state):
    """Tokens `[B, n, C]` of tokens that may be the same for all rows."""
    return ops.cast(tokens, state.dtype) * ops.ones_like(state[:, :1])
