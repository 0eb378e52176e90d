"""What the settings of every patch method share."""

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from keras_peterrec.errors import InputError, Misfit


@dataclass(frozen=True)
class PatchMethod:
    """Settings of a way to patch; a subclass says which patch stands at which site.

    A method of your own is a frozen dataclass and a name, with a `PatchLayer` of yours
    or one of ours:

        @dataclass(frozen=True)
        class Gain(PatchMethod):
            \"""One factor for each channel of every branch.\"""

            def patches_of(self, block, index, dtype):
                return {"activation_2": AffinePatch(shift=False, name="gain", dtype=dtype)}

        register_patch_method("gain", Gain)

    Args:
        blocks: sequence of int or `None`. The host's blocks that are patched, counted
            from 1. Defaults to `None`, all.

    Raises:
        InputError: an argument is not allowed.
    """

    blocks: tuple | None = field(default=None, kw_only=True)

    # The setting that a number in a short name is: "lora:8" is `Lora(rank=8)`.
    number: ClassVar[str | None] = None

    def __post_init__(self):
        if self.blocks is None:
            return
        object.__setattr__(self, "blocks", tuple(self.blocks))  # JSON has lists
        for block in self.blocks:
            check_positive("blocks", block)
        if len(set(self.blocks)) < len(self.blocks):
            raise InputError(
                f"`blocks` should be different blocks. Received: `blocks` = {self.blocks}."
            )

    @property
    def tokens(self):
        """Task tokens at an end of the history."""
        return 1

    def replace(self, **changes):
        """These settings with some of them changed."""
        return dataclasses.replace(self, **changes)

    def for_host(self, host):
        """These settings with what depends on `host` filled in.

        Raises:
            Misfit: they do not fit the host.
        """
        count = len(host.blocks)
        if self.blocks is not None and max(self.blocks, default=1) > count:
            raise Misfit(
                f"`blocks` should be of the host's blocks, 1 to {count}. "
                f"Received: `blocks` = {self.blocks}."
            )
        return self

    def make_patches(self, block, index, dtype=None):
        """New patches for one residual block, `{site: PatchLayer}`.

        Args:
            block: ResidualBlock, built.
            index: int. Which of the host's blocks it is, from 1.
            dtype: dtype policy of the patches.
        """
        if self.blocks is not None and index not in self.blocks:
            return {}
        return self.patches_of(block, index, dtype)

    @staticmethod
    def merges(blocks):
        """Whether patches can be folded into a copy of the host.

        Args:
            blocks: iterable of dict, each from site to PatchLayer of one block.
        """
        patches = [(site, patch) for block in blocks for site, patch in block.items()]
        return bool(patches) and all(site in patch.fold_sites for site, patch in patches)

    def patches_of(self, block, index, dtype):
        """New patches for a block that is patched; see `make_patches`."""
        raise NotImplementedError


def check_positive(argument, value):
    """Refuses what is no positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(
            f"`{argument}` should be a positive integer. Received: `{argument}` = {value!r}."
        )
