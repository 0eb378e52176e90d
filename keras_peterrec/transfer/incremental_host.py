"""A causal host that goes from position to position."""

from keras import ops

from keras_peterrec.data.special_ids import PAD
from keras_peterrec.errors import InputError


class IncrementalHost:
    """The blocks of a causal host at one position at a time, with the patches given.

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

    @property
    def state_shape(self):
        """`(S, C)` of one user."""
        return sum(block.memory_length for block in self.host.blocks), self.host.hidden_dim

    def start(self, users):
        """States of users without events, `[B, S, C]`."""
        dtype = self.host.item_embedding.compute_dtype
        return ops.zeros((users, *self.state_shape), dtype=dtype)

    def append(self, state, items, patches):
        """The states after one more event.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]`; 0 where there is none.
            patches: Callable from a block to its patches as `ResidualBlock.step` takes them.
        """
        items = ops.convert_to_tensor(items, dtype="int32")
        embedded = self.host.item_embedding(items[:, None])  # [B, 1, C]
        _, following = self._advance(embedded, state, patches)
        return ops.where((items == PAD)[:, None, None], state, following)

    def users(self, state, tokens, pooling, patches):
        """Users `[B, C]`: steps of the tokens `[B or 1, n, C]`, whose states are not kept."""
        hidden = []
        for number in range(tokens.shape[1]):
            token = ops.cast(tokens[:, number : number + 1], state.dtype)
            token = ops.ones_like(state[:, :1]) * token
            states, state = self._advance(token, state, patches)
            hidden.append(states)
        ones = [ops.ones_like(states[..., :1]) for states in hidden]
        return pooling(ops.concatenate(hidden, axis=1), ops.concatenate(ones, axis=1))

    def _advance(self, states, memory, patches):
        """One position `[B, 1, C]` through all blocks, and the memory after it."""
        start, kept = 0, []
        for block in self.host.blocks:
            rows = block.memory_length
            states, after = block.step(states, memory[:, start : start + rows], patches(block))
            kept.append(after)
            start += rows
        return states, ops.concatenate(kept, axis=1)
