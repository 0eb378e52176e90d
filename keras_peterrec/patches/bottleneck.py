"""Settings of the bottleneck method."""

from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.errors import Misfit
from keras_peterrec.patches.insertion import get_insertion
from keras_peterrec.patches.patch_method import PatchMethod, check_positive


@dataclass(frozen=True)
class Bottleneck(PatchMethod):
    """PeterRec's model patch: a bottleneck at the sites of an insertion.

    Args:
        width: int, sequence of int or `None`. Width K of the bottleneck, or one for each
            block that is patched. Defaults to `None`, an eighth of the host's channels,
            as in the paper (K = 32 at C = 256): a patch is then 8.5 to 9 % of a
            convolution.
        insertion: str. Where it acts; see `INSERTIONS`. Defaults to `"parallel"`.
        inner_skip: bool. See `BottleneckPatch`. Defaults to `False`.
        blocks: See `PatchMethod`.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> Bottleneck(width=8, insertion="serial").replace(width=4).width
    4
    >>> Bottleneck(width=(4, 8), blocks=(7, 8)).width  # the last two of eight blocks
    (4, 8)

    Source: Yuan et al., SIGIR 2020, section 3.4 and Fig. 3.
    """

    width: int | tuple | None = None
    insertion: str = "parallel"
    inner_skip: bool = False

    number: ClassVar[str] = "width"

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.width, (list, tuple)):
            object.__setattr__(self, "width", tuple(self.width))
        widths = self.width if isinstance(self.width, tuple) else (self.width,)
        for width in widths:
            if width is not None or widths is self.width:
                check_positive("bottleneck", width)
        get_insertion(self.insertion)

    def for_host(self, host):
        super().for_host(host)
        patched = len(host.blocks if self.blocks is None else self.blocks)
        if isinstance(self.width, tuple) and len(self.width) != patched:
            raise Misfit(
                f"`bottleneck` should be one width, or one for each of {patched} patched "
                f"blocks. Received: `bottleneck` = {self.width}."
            )
        return self if self.width else self.replace(width=max(1, host.hidden_dim // 8))

    def width_at(self, index):
        """K of the block `index`, counted from 1."""
        if not isinstance(self.width, tuple):
            return self.width
        return self.width[index - 1 if self.blocks is None else self.blocks.index(index)]

    def patches_of(self, block, index, dtype):
        insertion = get_insertion(self.insertion)
        return {
            site: self.patch(self.width_at(index), insertion.parallel, name=site, dtype=dtype)
            for site in insertion.sites
        }

    def patch(self, width, parallel, **arguments):
        """One new patch layer."""
        # Imported here so that settings can be read without loading Keras.
        from keras_peterrec.patches.bottleneck_patch import BottleneckPatch

        return BottleneckPatch(width, parallel, self.inner_skip, **arguments)
