"""A causal host that goes from position to position."""

from keras import ops

from keras_peterrec.data.special_ids import PAD
from keras_peterrec.errors import InputError
from keras_peterrec.layers.history_summary import HistorySummary


class IncrementalHost:
    """The blocks of a causal host at a few positions at a time, with the patches given.

    What `IncrementalTask` and `IncrementalTasks` share; see there for what a state is.

    Args:
        host: Backbone, causal.
        summary: bool. Whether a state also holds the sums that a `HistorySummary` reads, in
            two rows behind those of the convolutions. Defaults to `False`.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(self, host, summary=False):
        if not host.causal:
            raise InputError(
                "`model` should stand on a causal host. Received: one on a masked host, "
                "whose states change with every later event."
            )
        self.host = host
        self.summary = summary
        self._reaches = [
            convolution.reach for block in host.blocks for convolution in block.convolutions
        ]

    @property
    def state_shape(self):
        """`(S, C)` of one user."""
        return sum(self._reaches) + 2 * self.summary, self.host.hidden_dim

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
        return ops.where(comes, self._moved(windows, embedded, state), state)

    def users(self, state, tokens, answer, patches):
        """Users `[B, C]`: steps of the tokens `[B or 1, n, C]`, whose states are not kept.

        Args:
            answer: Callable from the tokens' states `[B, n, C]`, and `total` and `count` as
                `HistorySummary.features` takes them, to the users. The latter are `None`
                without a summary.
        """
        tokens = _of_all(tokens, state)
        states, _ = self._advance(tokens, state, patches)
        return answer(states, *self._sums(state))

    def step(self, state, items, tokens, answer, patches):
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
        state = ops.where(comes, self._moved(windows, embedded, state), state)
        return state, answer(read, *self._sums(state))

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
        memory = memory[:, : ends[-1]]  # what lies behind is not of a convolution
        windows, longer = ops.split(memory, ends[:-1], axis=1), []
        flat = ops.reshape(states, (-1, channels))
        for number, block in enumerate(self.host.blocks):
            mine = windows[2 * number : 2 * number + 2]
            flat, inputs = block.step(flat, mine, count, patches(block, count))
            longer += inputs
        return ops.reshape(flat, (-1, count, channels)), longer

    def _moved(self, windows, embedded, state):
        """The states that remember the first of the new inputs, `[B, S, C]`."""
        rows, start = [], 1
        for reach, window in zip(self._reaches, windows):
            rows += range(start, start + reach)
            start += window.shape[1]
        moved = ops.take(ops.concatenate(windows, axis=1), rows, axis=1)
        if not self.summary:
            return moved
        total, count = state[:, -2:-1], state[:, -1:]
        total = total + HistorySummary.normalized(embedded)
        return ops.concatenate([moved, total, count + 1.0], axis=1)

    def _sums(self, state):
        """`total` and `count` of a summary, or `None` twice."""
        return (state[:, -2], state[:, -1, :1]) if self.summary else (None, None)


def _of_all(tokens, state):
    """Tokens `[B, n, C]` of tokens that may be the same for all rows."""
    return ops.cast(tokens, state.dtype) * ops.ones_like(state[:, :1])
