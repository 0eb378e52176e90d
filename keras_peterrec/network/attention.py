"""A network of pointwise attention, as HSTU's."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.errors import check_count, refuse
from keras_peterrec.network.attention_block import AttentionBlock
from keras_peterrec.network.block_network import BlockNetwork
from keras_peterrec.types import DType, Json, Patches, Tensor, Variable


@keras.saving.register_keras_serializable("keras_peterrec")
class AttentionNetwork(BlockNetwork):
    """Item embeddings and a stack of blocks in which events attend to events near them.

        x = E[id];  x = block(x) for each block;  state = LN(x)

    A block sees `window - 1` events back (and as many ahead, where it is not causal), so a row
    costs in proportion to its length, however long it is.

    Args:
        vocabulary_size, hidden_dim, causal, dropout, name, dtype, fields: see `Network`.
        blocks: int. Defaults to `4`, which see 253 events.
        heads: int. In how many groups the channels attend. Defaults to `2`.
        window: int. How many events a block sees, the event itself included, at least two.
            Defaults to `64`.

    Raises:
        InputError: an argument is out of range, or `heads` does not divide `hidden_dim`.

    Example:

    >>> network = AttentionNetwork(vocabulary_size=1000, hidden_dim=32, blocks=2)
    >>> network(np.array([[0, 0, 17, 5]])).shape
    (1, 4, 32)

    Source: Zhai et al., "Actions Speak Louder than Words", ICML 2024, section 3.2 (HSTU). Not in
    the paper: the window, a bias by distance alone and none by time (a host's times are in the
    events' vectors), the norm at the end, and branches that start small.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int = 64,
        causal: bool = True,
        dropout: float = 0.0,
        name: str = "network",
        dtype: DType | None = None,
        blocks: int = 4,
        heads: int = 2,
        window: int = 64,
        **kwargs: Any,
    ) -> None:
        self.count = check_count("blocks", blocks)
        self.heads, self.window = check_count("heads", heads), check_count("window", window)
        if window < 2:
            refuse("window", "at least 2: the event and one before it", window)
        if check_count("hidden_dim", hidden_dim) % heads:
            refuse("hidden_dim", f"a multiple of `heads` = {heads}", hidden_dim)
        super().__init__(vocabulary_size, hidden_dim, causal, dropout, name, dtype, **kwargs)

    def make_blocks(self, dtype: DType) -> list[AttentionBlock]:
        settings = self.heads, self.window, self.causal, self.dropout
        return [
            AttentionBlock(*settings, name=f"block_{n}", dtype=dtype)
            for n in range(1, self.count + 1)
        ]

    @property
    def multiplications(self) -> int:
        # Beside the linear maps, products with the keys and the values of a window.
        seen = self.window if self.causal else 2 * self.window - 1
        return super().multiplications + 2 * self.count * seen * self.hidden_dim

    def last_weights(self, count: int) -> list[Variable]:
        """The weights of the last so many blocks."""
        return [weight for block in self.blocks[-count:] for weight in block.trainable_weights]

    @property
    def state_rows(self) -> int | None:
        """The keys and values that each block still sees at its next event."""
        return 2 * self.count * (self.window - 1) if self.causal else None

    def advance(
        self,
        memory: Tensor,
        states: Tensor,
        kept: int,
        padding_mask: Tensor | None = None,
        patches: Patches | None = None,
    ) -> tuple[Tensor, Tensor]:
        users, before, added = ops.shape(memory)[0], self.window - 1, []
        shape = [users, 2 * self.count, before, self.hidden_dim]
        memory = ops.reshape(ops.cast(memory, states.dtype), shape)
        for number, (block, at_sites) in enumerate(self.blocks_with(patches)):
            keys, values = memory[:, 2 * number], memory[:, 2 * number + 1]
            states, new = block.step(states, keys, values, padding_mask, at_sites)
            added += new
        last = ops.stack(added, axis=1)[:, :, max(kept - before, 0) : kept]
        moved = ops.concatenate([memory[:, :, kept:], last], axis=2)
        return states, ops.reshape(moved, [users, self.state_rows, self.hidden_dim])

    def get_config(self) -> Json:
        own = {"blocks": self.count, "heads": self.heads, "window": self.window}
        return {**super().get_config(), **own}
