"""The settings that all patch methods share."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from keras_peterrec.errors import InputError, Misfit, check_count
from keras_peterrec.patches.patch_layer import ITEM_EMBEDDING, ITEM_SITE, PatchLayer

if TYPE_CHECKING:
    from keras_peterrec.layers.residual_block import ResidualBlock
    from keras_peterrec.models.backbone import Backbone


@dataclass(frozen=True)
class PatchMethod:
    """Settings of a way to patch; a subclass says which patch goes to which site.

    A method of your own is a frozen dataclass and a name. It uses a `PatchLayer` of yours
    or one of ours:

        @dataclass(frozen=True)
        class Gain(PatchMethod):
            \"""One factor for each channel of every branch.\"""

            def patches_of(self, block, index, dtype):
                return {"activation_2": AffinePatch(shift=False, name="gain", dtype=dtype)}

        register_patch_method("gain", Gain)

    A method that patches the embedded items, before the first block, has `item_patch_of`.
    Its settings can be numbers, booleans, words, `None` and tuples of these: then a short
    name can hold them all (see `get_patch`).

    Args:
        blocks: sequence of int, int or `None`. The blocks of the host to patch, counted from
            1. Defaults to `None`, all blocks.

    Raises:
        InputError: an argument is not allowed.
    """

    blocks: tuple | None = field(default=None, kw_only=True)

    # The setting that a bare number in a short name stands for: "lora:8" is `Lora(rank=8)`.
    number: ClassVar[str | None] = None
    # Bare words in a short name, each with the setting that it is a value of.
    words: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        if self.blocks is None:
            return
        blocks = self.blocks if isinstance(self.blocks, (tuple, list)) else (self.blocks,)
        object.__setattr__(self, "blocks", tuple(blocks))  # JSON has lists
        for block in self.blocks:
            check_count("blocks", block)
        if len(set(self.blocks)) < len(self.blocks):
            raise InputError(
                f"`blocks` should name each block once. Received: `blocks` = {self.blocks}."
            )

    @property
    def tokens(self) -> int:
        """Number of task tokens at an end of the history."""
        return 1

    def replace(self, **changes: Any) -> Self:
        """A copy of these settings with some of them changed."""
        return dataclasses.replace(self, **changes)

    def for_host(self, host: "Backbone") -> Self:
        """A copy of these settings in which defaults that depend on `host` are filled in.

        Raises:
            Misfit: the settings do not fit the host.
        """
        count = len(host.blocks)
        if self.blocks is not None and max(self.blocks, default=1) > count:
            raise Misfit(
                f"`blocks` should be numbers of the host's blocks, 1 to {count}. "
                f"Received: `blocks` = {self.blocks}."
            )
        return self

    def make_patches(
        self, block: "ResidualBlock", index: int, dtype: Any = None
    ) -> dict[str, PatchLayer]:
        """Makes the patches of one residual block, `{site: PatchLayer}`.

        Args:
            block: ResidualBlock. It must be built.
            index: int. Its number among the host's blocks, counted from 1.
            dtype: dtype policy. The policy of the patches. Defaults to `None`, Keras' own.
        """
        if self.blocks is not None and index not in self.blocks:
            return {}
        return self.patches_of(block, index, dtype)

    def patches_by_place(
        self, host: "Backbone", dtype: Any = None
    ) -> dict[str, dict[str, PatchLayer]]:
        """Makes all patches of a host, `{place: {site: PatchLayer}}`.

        A place is the name of a layer of the host: the item embedding or a block.

        Args:
            host: Backbone.
            dtype: dtype policy. Defaults to `None`, Keras' own.
        """
        of_items = self.item_patch_of(host, dtype)
        blocks = enumerate(host.blocks, 1)
        return {
            ITEM_EMBEDDING: {} if of_items is None else {ITEM_SITE: of_items},
            **{block.name: self.make_patches(block, index, dtype) for index, block in blocks},
        }

    @staticmethod
    def merges(places: Iterable[dict[str, PatchLayer]]) -> bool:
        """Whether patches can be folded into a copy of the host.

        Args:
            places: iterable of dict. For each place its patches, `{site: PatchLayer}`.
        """
        patches = [(site, patch) for sites in places for site, patch in sites.items()]
        return bool(patches) and all(site in patch.fold_sites for site, patch in patches)

    @property
    def setting_name(self) -> str:
        """What `run.json` calls the method: its short name."""
        from keras_peterrec.patches.registry import short_name  # it imports every method

        return short_name(self)

    def patches_of(self, block: "ResidualBlock", index: int, dtype: Any) -> dict[str, PatchLayer]:
        """Makes the patches of a block that is to be patched; see `make_patches`."""
        raise NotImplementedError

    def item_patch_of(self, host: "Backbone", dtype: Any) -> PatchLayer | None:
        """Makes the patch of the embedded items, or `None` where the method has none."""
        return None
