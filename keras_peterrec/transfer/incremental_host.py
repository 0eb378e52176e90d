"""A causal host that goes from position to position."""

from keras import ops

from keras_peterrec.data.special_ids import PAD
from keras_peterrec.errors import InputError
from keras_peterrec.layers.history_summary import HistorySummary
from keras_peterrec.layers.history_sums import HistorySums


class IncrementalHost:
    """The blocks of a causal host at a few positions at a time, with the patches given.

    What `IncrementalTask` and `IncrementalTasks` share; see there for what a state is.

    Args:
        host: Backbone, causal.
        summary: bool. Whether a state also holds the sums that a `HistorySummary` reads, in
            rows behind those of the convolutions. Defaults to `False`.
        history_length: int or `None`. Events that the sums are to be of; see `_later`.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(self, host, summary=False, history_length=None):
        if not host.causal:
            raise InputError(
                "`model` should stand on a causal host. Received: one on a masked host, "
                "whose states change with every later event."
            )
        self.host = host
        self.summary = summary
        self.history_length = history_length
        self._reaches = [
            convolution.reach for block in host.blocks for convolution in block.convolutions
        ]

    @property
    def state_shape(self):
        """`(S, C)` of one user."""
        # The total of a summary, and its count as a row.
        channels = self.host.hidden_dim
        sums = HistorySummary.width(channels) // channels if self.summary else 0
        return sum(self._reaches) + sums, channels

    def start(self, users):
        """States of users without events, `[B, S, C]`, float32: halves cannot count on."""
        return ops.zeros((users, *self.state_shape), dtype="float32")

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
        # What lies behind is not of a convolution.
        memory = ops.cast(memory[:, : ends[-1]], states.dtype)
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
        moved = ops.cast(ops.take(ops.concatenate(windows, axis=1), rows, axis=1), "float32")
        if not self.summary:
            return moved
        total, count = self._later(*self._sums(state), HistorySums.waves(embedded)[:, 0])
        return ops.concatenate([moved, self.rows_of_sums(total, count)], axis=1)

    def _later(self, total, count, waves):
        """The sums after one more event.

        From `history_length` events on, each new one takes from the sums what an average event
        put in, since the oldest is no longer known.
        """
        kept = 1.0
        if self.history_length is not None:
            kept = ops.minimum(1.0, (self.history_length - 1.0) / ops.maximum(count, 1.0))
        return total * kept + waves, count * kept + 1.0

    def rows_of_sums(self, total, count):
        """The sums of a summary as a state has them."""
        channels = self.host.hidden_dim
        rows = ops.reshape(total, (-1, total.shape[-1] // channels, channels))
        return ops.concatenate([rows, ops.ones_like(rows[:, :1]) * count[:, None]], axis=1)

    def _sums(self, state):
        """`total` and `count` of a summary, or `None` twice."""
        if not self.summary:
            return None, None
        behind = state[:, sum(self._reaches) :]
        width = (behind.shape[1] - 1) * behind.shape[2]
        return ops.reshape(behind[:, :-1], (-1, width)), behind[:, -1, :1]


def _of_all(tokens, state):
    """Tokens `[B, n, C]` of tokens that may be the same for all rows."""
    return tokens * ops.ones_like(state[:, :1], dtype=tokens.dtype)
