"""A causal host that takes a few positions at a time."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_peterrec.data.vocabulary import PAD, UNK
from keras_peterrec.errors import InputError
from keras_peterrec.layers.history_summary import HistorySummary, HistorySums
from keras_peterrec.models.backbone import Backbone


class IncrementalHost:
    """Runs the blocks of a causal host at a few positions at a time, with given patches.

    `IncrementalTask` and `IncrementalTasks` share it; the former says what a state is.

    Args:
        host: Backbone. Causal.
        summary: bool. Whether a state also holds the sums that a `HistorySummary` reads, in
            rows after those of the convolutions. Defaults to `False`.
        history_length: int or `None`. How many events the sums should cover; see `_later`.
            Defaults to `None`, all.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(
        self, host: Backbone, summary: bool = False, history_length: int | None = None
    ) -> None:
        if not host.causal:
            raise InputError(
                "`model` should have a causal host. Received: one with a masked host, whose states "
                "change with every later event."
            )
        self.host = host
        self.summary = summary
        self.history_length = history_length
        self._reaches = [
            convolution.reach for block in host.blocks for convolution in block.convolutions
        ]

    @property
    def state_shape(self) -> tuple[int, int]:
        """`(S, C)` of one user."""
        # The total of a summary, and its count as a row.
        channels = self.host.hidden_dim
        sums = HistorySummary.width(channels) // channels if self.summary else 0
        return sum(self._reaches) + sums, channels

    def start(self, users: int) -> Any:
        """The states of users without events, `[B, S, C]`. float32, as halves cannot count far."""
        return ops.zeros((users, *self.state_shape), dtype="float32")

    def append(self, state: Any, items: Any, patches: Callable) -> Any:
        """The states after one more event.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]`. 0 for a user without an event, which the unknown
                item also is.
            patches: callable. From a block and a number of positions to the block's patches,
                in the form of `ResidualBlock.step`.
        """
        embedded, comes = self._embedded(items)
        _, windows = self._advance(embedded, state, patches)
        return ops.where(comes, self._moved(windows, embedded, state), state)

    def users(self, state: Any, tokens: Any, answer: Callable, patches: Callable) -> Any:
        """The users `[B, C]`: a step of the tokens `[B or 1, n, C]` that is not kept in the state.

        Args:
            answer: callable. From the tokens' states `[B, n, C]`, and the `total` and `count`
                that `HistorySummary.features` takes (`None` without a summary), to the users.
        """
        tokens = _of_all(tokens, state)
        states, _ = self._advance(tokens, state, patches)
        return answer(states, *self._sums(state))

    def step(
        self, state: Any, items: Any, tokens: Any, answer: Callable, patches: Callable
    ) -> tuple[Any, Any]:
        """Does `append` and then `users` in one pass over all positions.

        Without an event, the tokens take the place of the event, one position earlier, and the
        outputs at the last position are not read.
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
        comes = (items != PAD) & (items != UNK)
        return self.host.item_embedding(items[:, None]), comes[:, None, None]

    def _advance(self, states, memory, patches):
        """Positions `[B, n, C]` through all blocks.

        Returns:
            Their states `[B, n, C]`, and for each convolution the inputs that it remembered,
            followed by the new ones, `[B, reach + n, C]`.
        """
        _, count, channels = states.shape
        ends = [sum(self._reaches[: n + 1]) for n in range(len(self._reaches))]
        # The rows after these belong to the summary.
        memory = ops.cast(memory[:, : ends[-1]], states.dtype)
        windows, longer = ops.split(memory, ends[:-1], axis=1), []
        flat = ops.reshape(states, (-1, channels))
        for number, block in enumerate(self.host.blocks):
            mine = windows[2 * number : 2 * number + 2]
            flat, inputs = block.step(flat, mine, count, patches(block, count))
            longer += inputs
        return ops.reshape(flat, (-1, count, channels)), longer

    def _moved(self, windows, embedded, state):
        """The states moved on by one position, `[B, S, C]`."""
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

        From `history_length` events on, each new one takes the place of an average event, since
        the oldest is no longer known.
        """
        kept = 1.0
        if self.history_length is not None:
            kept = ops.minimum(1.0, (self.history_length - 1.0) / ops.maximum(count, 1.0))
        return total * kept + waves, count * kept + 1.0

    def rows_of_sums(self, total, count):
        """The sums of a summary as rows of a state."""
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
    """Tokens `[B, n, C]`, from tokens that may be `[1, n, C]` for all rows."""
    return tokens * ops.ones_like(state[:, :1], dtype=tokens.dtype)
