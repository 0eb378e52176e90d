"""The paper's network: a stack of residual blocks of dilated convolutions."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_peterrec.errors import check_count
from keras_peterrec.network.block_network import BlockNetwork
from keras_peterrec.network.residual_block import ResidualBlock
from keras_peterrec.types import DType, Json, Patches, Tensor, Variable


@keras.saving.register_keras_serializable("keras_peterrec")
class ConvolutionNetwork(BlockNetwork):
    """Item embeddings and a stack of residual blocks.

        x = E[id];  x = block(x) for each block;  state = LN(x)

    Args:
        vocabulary_size, hidden_dim, causal, name, dtype, fields: see `Network`.
        dilations: Sequence of int or `None`. First dilation of each residual block; the
            block's second convolution has twice as much. Defaults to `None`, 1 and 4 in turn: for
            the paper's 8 blocks, 1, 2, 4, 8 four times.
        kernel_size: int. Defaults to `3`.
        dropout: float. Rate of the dropout on the embedded items and on every
            block's branch. Defaults to `0.0`.
        blocks: int. How many residual blocks, where `dilations` does not say. Defaults to `8`.

    Raises:
        InputError: an argument is out of range.

    Example:

    >>> network = ConvolutionNetwork(vocabulary_size=1000, hidden_dim=32, blocks=2)
    >>> network(np.array([[0, 0, 17, 5]])).shape
    (1, 4, 32)

    Source: Yuan et al., SIGIR 2020, section 3.2. Not in the paper: the norm at the end, item
    vectors that start at length one, and branches that start small.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int = 64,
        dilations: Sequence[int] | None = None,
        kernel_size: int = 3,
        causal: bool = True,
        dropout: float = 0.0,
        name: str = "network",
        dtype: DType | None = None,
        blocks: int = 8,
        **kwargs: Any,
    ) -> None:
        if dilations is None:
            dilations = [(1, 4)[n % 2] for n in range(check_count("blocks", blocks))]
        self.dilations = tuple(dilations)
        self.kernel_size = kernel_size
        super().__init__(vocabulary_size, hidden_dim, causal, dropout, name, dtype, **kwargs)

    def make_blocks(self, dtype: DType) -> list[ResidualBlock]:
        return [
            ResidualBlock(
                dilation,
                self.kernel_size,
                self.causal,
                self.dropout,
                name=f"block_{n}",
                dtype=dtype,
            )
            for n, dilation in enumerate(self.dilations, 1)
        ]

    def last_weights(self, count: int) -> list[Variable]:
        """The weights of the last so many convolutions and the norms after them."""
        pairs = [p for block in self.blocks for p in zip(block.convolutions, block.norms)]
        last = pairs[len(pairs) - count :]
        return [weight for pair in last for layer in pair for weight in layer.weights]

    @property
    def state_rows(self) -> int | None:
        """The last inputs of every convolution: 120 rows at the paper's 8 blocks."""
        return sum(self._reaches) if self.causal else None

    def advance(
        self,
        memory: Tensor,
        states: Tensor,
        kept: int,
        padding_mask: Tensor | None = None,
        patches: Patches | None = None,
    ) -> tuple[Tensor, Tensor]:
        _, count, channels = states.shape
        reaches = self._reaches
        ends = [sum(reaches[: n + 1]) for n in range(len(reaches))]
        windows = ops.split(ops.cast(memory, states.dtype), ends[:-1], axis=1)
        flat, longer = ops.reshape(states, (-1, channels)), []
        real = None if padding_mask is None else ops.reshape(padding_mask, (-1, 1))
        for number, (block, at_sites) in enumerate(self.blocks_with(patches)):
            mine = windows[2 * number : 2 * number + 2]
            flat, inputs = block.step(flat, mine, count, at_sites, real)
            longer += inputs
        rows, start = [], kept
        for reach in reaches:
            rows += range(start, start + reach)
            start += reach + count
        moved = ops.take(ops.concatenate(longer, axis=1), rows, axis=1)
        return ops.reshape(flat, (-1, count, channels)), moved

    @property
    def _reaches(self):
        return [c.reach for block in self.blocks for c in block.convolutions]

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "dilations": list(self.dilations),
            "kernel_size": self.kernel_size,
        }
