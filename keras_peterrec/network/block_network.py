"""What networks that are a stack of blocks have in common."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras

from keras_peterrec.network.network import Network, Site
from keras_peterrec.types import DType, Json, Patches, Shape, Tensor, Variables

AtSites: TypeAlias = Mapping[str, Callable[..., Tensor]]  # a block's patches, by site


class Block(keras.layers.Layer):
    """A block of a `BlockNetwork`: a branch that is added to the block's input.

    A subclass makes in `build` what it consists of, and has a `call`. A patch at one of its `sites`
    is called as `patch(inputs, outputs, seen=...)`, and the block goes on with what it returns.

    Args:
        causal: bool. Whether a position sees only itself and its past.
        dropout: float. Rate of the dropout on the branch.

    Call arguments:
        inputs: Tensor of shape `[B, L, C]`.
        padding_mask: Tensor of shape `[B, L, 1]`, one at real positions and zero at padding.
        sequence_ids: int32 tensor of shape `[B, L]` as from `SequenceIds`, or `None` where each row
            is one sequence, padded on the left.
        patches: dict from site to patch, or `None`.
        last: int or `None`. Of how many of the last positions the outputs are wanted, causal only,
            one sequence a row. Defaults to `None`, all.

    Returns:
        Tensor of shape `[B, L, C]`, or `[B, min(L, last), C]`.
    """

    def __init__(self, causal: bool, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.causal, self.dropout = causal, dropout

    def with_tokens(
        self,
        inputs: Tensor,
        tokens: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None = None,
        patches: AtSites | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Computes a causal block along sequences, and for a token in place of each position.

        A token sees what its position would see of earlier ones with its `sequence_ids`, and itself
        in place of the position. So one pass answers for every prefix of a sequence. Dropout drops
        other values of the tokens than of the sequences.

        Args:
            inputs, tokens: Tensors of shape `[B, L, C]`, the block's input along the sequences and
                for the tokens, one at every position.
            padding_mask, sequence_ids, patches, training: see a call.

        Returns:
            The block's outputs, of the sequences and of the tokens, `[B, L, C]` each.
        """
        raise NotImplementedError

    @property
    def reach(self) -> int:
        """How many positions before its own a state depends on (causal)."""
        raise NotImplementedError

    @property
    def sites(self) -> dict[str, Site]:
        """Where patches may act, `{name: Site}`; see `Network.sites`."""
        raise NotImplementedError

    def foldable(self, site: str) -> Variables:
        """The weights that an affine patch at a site can be folded into, by name."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Json:
        return {**super().get_config(), "causal": self.causal, "dropout": self.dropout}


class BlockNetwork(Network):
    """Item embeddings, a stack of blocks, and a norm.

        x = E[id];  x = block(x) for each block;  state = LN(x)

    A subclass makes its blocks in `make_blocks`, each a `Block` named `block_n`.
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
        for block, at_sites in self.blocks_with(patches):
            states = block(states, padding_mask, sequence_ids, patches=at_sites, training=training)
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
        for block, at_sites in self.blocks_with(patches):
            last -= block.reach
            states = block(states, padding_mask, patches=at_sites, training=training, last=last)
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
        for block, at_sites in self.blocks_with(patches):
            states, tokens = block.with_tokens(
                states, tokens, padding_mask, sequence_ids, at_sites, training
            )
        return tokens

    def blocks_with(self, patches: Patches | None) -> list[tuple[Any, AtSites | None]]:
        """Each block, and the patches at its sites."""
        return [(block, None if patches is None else patches[block.name]) for block in self.blocks]

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
