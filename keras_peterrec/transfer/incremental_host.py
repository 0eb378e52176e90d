"""A causal host that takes a few positions at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_peterrec.data.vocabulary import PAD, UNK
from keras_peterrec.errors import InputError
from keras_peterrec.layers.task_token import TokenPooling
from keras_peterrec.models.backbone import Backbone


@dataclass(frozen=True)
class TaskParts:
    """What a task adds to the host.

    Args:
        tokens: Tensor of shape `[B, n, C]`, or `[1, n, C]` for all users.
        embed: callable. From ids `[B, 1]` to items `[B, 1, C]`.
        patches: callable. From a block and a number of positions to the block's patches, in the
            form of `ResidualBlock.step`.
    """

    tokens: Any
    embed: Callable
    patches: Callable


class IncrementalHost:
    """Runs the blocks of a causal host at a few positions at a time, with given patches.

    `IncrementalTask` and `IncrementalTasks` share it; the former says what a state is.

    Args:
        host: Backbone. Causal.
        user_pooling: TokenPooling. From the tokens' states to the user.
        events: int. How many of the last known items a state holds as well, for a linear part.
            Their ids are exact as floats below 2^24. Defaults to `0`.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(self, host: Backbone, user_pooling: TokenPooling, events: int = 0) -> None:
        if not host.causal:
            raise InputError(
                "`model` should have a causal host. Received: one with a masked host, whose states "
                "change with every later event."
            )
        self.host = host
        self.user_pooling = user_pooling
        self._reaches = [
            convolution.reach for block in host.blocks for convolution in block.convolutions
        ]
        self._inputs = sum(self._reaches)  # rows of the convolutions' inputs
        self._id_rows = -(-events // host.hidden_dim)

    @property
    def state_shape(self) -> tuple[int, int]:
        """`(S, C)` of one user."""
        return self._inputs + self._id_rows, self.host.hidden_dim

    def start(self, users: int) -> Any:
        """The states of users without events, `[B, S, C]`, float32."""
        return ops.zeros((users, *self.state_shape), dtype="float32")

    def append(self, state: Any, items: Any, parts: TaskParts) -> Any:
        """The states after one more event.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]`. 0 for a user without an event, which the unknown
                item also is.
            parts: TaskParts.
        """
        embedded, comes = _embedded(items, parts)
        _, windows = self._advance(embedded, state, parts)
        return ops.where(comes, self._moved(windows, state, items), state)

    def users(self, state: Any, parts: TaskParts) -> Any:
        """The users `[B, C]`: the tokens take a step that the state forgets."""
        states, _ = self._advance(_of_all(parts.tokens, state), state, parts)
        return self._pooled(states)

    def step(self, state: Any, items: Any, parts: TaskParts) -> tuple[Any, Any]:
        """Does `append` and then `users` in one pass over all positions.

        Without an event, the tokens take the place of the event, one position earlier, and the
        outputs at the last position are not read.
        """
        embedded, comes = _embedded(items, parts)
        tokens = _of_all(parts.tokens, state)
        early = ops.concatenate([tokens, tokens[:, -1:]], axis=1)
        late = ops.concatenate([embedded, tokens], axis=1)
        states, windows = self._advance(ops.where(comes, late, early), state, parts)
        read = ops.where(comes, states[:, 1:], states[:, :-1])
        return ops.where(comes, self._moved(windows, state, items), state), self._pooled(read)

    def history(self, state: Any) -> Any:
        """The last known items in a state, int32 `[B, n]`, padded on the left."""
        ids = ops.reshape(state[:, self._inputs :], (-1, self._id_rows * self.host.hidden_dim))
        return ops.cast(ids, "int32")

    def id_rows(self, history: Any) -> Any:
        """The ids of histories `[B, L]` as rows of a state, without unknown items."""
        width = self._id_rows * self.host.hidden_dim
        history = ops.pad(ops.cast(history, "float32"), [[0, 0], [width, 0]])
        ids = history[:, history.shape[1] - width :]
        return ops.reshape(ids, (-1, self._id_rows, self.host.hidden_dim))

    def _pooled(self, states):
        """The users `[B, C]` of the tokens' states `[B, n, C]`."""
        return self.user_pooling(states, ops.ones_like(states[..., :1]))

    def _advance(self, states, memory, parts):
        """Positions `[B, n, C]` through all blocks.

        Returns:
            Their states `[B, n, C]`, and for each convolution the inputs that it remembered,
            followed by the new ones, `[B, reach + n, C]`.
        """
        _, count, channels = states.shape
        ends = [sum(self._reaches[: n + 1]) for n in range(len(self._reaches))]
        memory = ops.cast(memory[:, : self._inputs], states.dtype)
        windows, longer = ops.split(memory, ends[:-1], axis=1), []
        flat = ops.reshape(states, (-1, channels))
        for number, block in enumerate(self.host.blocks):
            mine = windows[2 * number : 2 * number + 2]
            flat, inputs = block.step(flat, mine, count, parts.patches(block, count))
            longer += inputs
        return ops.reshape(flat, (-1, count, channels)), longer

    def _moved(self, windows, state, items):
        """The states moved on by one position, `[B, S, C]`."""
        rows, start = [], 1
        for reach, window in zip(self._reaches, windows):
            rows += range(start, start + reach)
            start += window.shape[1]
        inputs = ops.cast(ops.take(ops.concatenate(windows, axis=1), rows, axis=1), "float32")
        if not self._id_rows:
            return inputs
        items = ops.expand_dims(ops.convert_to_tensor(items, dtype="int32"), 1)
        newest_last = ops.concatenate([self.history(state), items], axis=1)
        return ops.concatenate([inputs, self.id_rows(newest_last)], axis=1)


def _embedded(items, parts):
    """The items' rows, `[B, 1, C]`, and where there is an item, `[B, 1, 1]`."""
    items = ops.convert_to_tensor(items, dtype="int32")
    comes = (items != PAD) & (items != UNK)
    return parts.embed(items[:, None]), comes[:, None, None]


def _of_all(tokens, state):
    """Tokens `[B, n, C]`, from tokens that may be `[1, n, C]` for all rows."""
    return tokens * ops.ones_like(state[:, :1], dtype=tokens.dtype)
