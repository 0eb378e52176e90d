"""Settings of the bottleneck method."""

import dataclasses
from dataclasses import dataclass

from keras_peterrec.errors import InputError
from keras_peterrec.patches.insertion import get_insertion


@dataclass(frozen=True)
class Bottleneck:
    """PeterRec's model patch: a bottleneck at the sites of an insertion.

    Args:
        width: int or `None`. Width K of the bottleneck. Defaults to `None`, an
            eighth of the host's channels, as in the paper (K = 32 at C = 256): a
            patch is then 8.5 to 9 % of a convolution.
        insertion: str. Where it acts; see `INSERTIONS`. Defaults to `"parallel"`.
        inner_skip: bool. See `BottleneckPatch`. Defaults to `False`.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> Bottleneck(width=8, insertion="serial").replace(width=4)
    Bottleneck(width=4, insertion='serial', inner_skip=False)
    """

    width: int | None = None
    insertion: str = "parallel"
    inner_skip: bool = False

    def __post_init__(self):
        if self.width is not None and (not isinstance(self.width, int) or self.width < 1):
            raise InputError(
                "`bottleneck` should be a positive integer. "
                f"Received: `bottleneck` = {self.width!r}."
            )
        get_insertion(self.insertion)

    def replace(self, **changes):
        """These settings with some of them changed."""
        return dataclasses.replace(self, **changes)

    def for_host(self, host):
        """These settings with the width filled in for `host`."""
        return self if self.width else self.replace(width=max(1, host.hidden_dim // 8))

    def make_patches(self, block, dtype=None):
        """New patches for one residual block, `{site: layer}`."""
        # Imported here so that settings can be read without loading Keras.
        from keras_peterrec.patches.bottleneck_patch import BottleneckPatch

        insertion = get_insertion(self.insertion)
        return {
            site: BottleneckPatch(
                self.width, insertion.parallel, self.inner_skip, name=site, dtype=dtype
            )
            for site in insertion.sites
        }
