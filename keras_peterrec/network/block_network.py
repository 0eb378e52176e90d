"""What networks that are a stack of blocks have in common."""

from typing import Any

import keras

from keras_peterrec.network.network import Network, Site
from keras_peterrec.types import DType, Patches, Tensor


class BlockNetwork(Network):
    """Item embeddings, a stack of blocks, and a norm.

        x = E[id];  x = block(x) for each block;  state = LN(x)

    A subclass makes its blocks in `make_blocks`. A block is a layer named `block_n` with a call
    `(states, padding_mask, sequence_ids, patches=, training=, last=)`, the method `with_tokens`,
    and `reach`, `sites` and `foldable`; see `ResidualBlock`.
    """

    runs_beside = True

    def make_blocks(self, dtype: DType) -> list[Any]:
        """The blocks, with the dtype policy `dtype`."""
        raise NotImplementedError

    def make_layers(self, dtype: DType) -> None:
        self.blocks = self.make_blocks(dtype)
        self.final_norm = keras.layers.LayerNormalization(
            epsilon=1e-6, name="final_norm", dtype=dtype
        )

    def run(
        self,
        states: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None = None,
        patches: Patches | None = None,
        training: bool | None = None,
    ) -> Tensor:
        for block in self.blocks:
            given = {"patches": patches and patches[block.name], "training": training}
            states = block(states, padding_mask, sequence_ids, **given)
        return states

    def run_last(
        self,
        states: Tensor,
        padding_mask: Tensor,
        patches: Patches | None = None,
        training: bool | None = None,
    ) -> Tensor:
        if not self.causal:
            return super().run_last(states, padding_mask, patches, training)
        # A block computes no more positions than the blocks after it can see of it.
        last = self.receptive_field
        for block in self.blocks:
            last -= block.reach
            given = {"patches": patches and patches[block.name], "training": training}
            states = block(states, padding_mask, None, last=last, **given)
            padding_mask = padding_mask[:, -last:]
        return states[:, -1]

    @property
    def receptive_field(self) -> int:
        """How many positions a state depends on, where it sees its past alone."""
        return 1 + sum(block.reach for block in self.blocks)

    def run_beside(
        self,
        states: Tensor,
        tokens: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None,
        patches: Patches | None = None,
        training: bool | None = None,
    ) -> Tensor:
        for block in self.blocks:
            of_block = None if patches is None else patches[block.name]
            states, tokens = block.with_tokens(
                states, tokens, padding_mask, sequence_ids, of_block, training
            )
        return tokens

    def finish(self, states: Tensor) -> Tensor:
        return self.final_norm(states)

    @property
    def sites(self) -> dict[str, dict[str, Site]]:
        return {block.name: block.sites for block in self.blocks}

    @property
    def option_to_see_further(self) -> str:
        return f"--blocks {2 * len(self.blocks)}"

    def foldable(self, place: str, site: str) -> dict[str, Any]:
        block = next(block for block in self.blocks if block.name == place)
        return block.foldable(site)
