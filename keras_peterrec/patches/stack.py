"""Several patch methods in one."""

from dataclasses import dataclass

from keras_peterrec.errors import InputError
from keras_peterrec.patches.patch_method import PatchMethod


@dataclass(frozen=True)
class Stack(PatchMethod):
    """Patch methods on top of each other: at a site that several patch, each changes what
    the one before it gave.

    Args:
        methods: sequence of PatchMethod, two or more.
        blocks: See `PatchMethod`; each method's own `blocks` hold as well.

    Raises:
        InputError: `methods` holds something else.

    Example:

    >>> Stack([Lora(4), NormTuning()]) == get_patch("lora:4+norm")
    True
    """

    methods: tuple = ()

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "methods", tuple(self.methods))
        if len(self.methods) < 2 or not all(isinstance(m, PatchMethod) for m in self.methods):
            raise InputError(
                "`methods` should be two or more patch methods. "
                f"Received: `methods` = {self.methods!r}."
            )

    @property
    def tokens(self):
        return max(method.tokens for method in self.methods)

    def for_host(self, host):
        super().for_host(host)
        return self.replace(methods=[method.for_host(host) for method in self.methods])

    def patches_of(self, block, index, dtype):
        from keras_peterrec.patches.chained_patch import ChainedPatch

        chains = {}
        for method in self.methods:
            for site, patch in method.make_patches(block, index, dtype).items():
                chains.setdefault(site, []).append(patch)
        # A chain even of one, so that weights are named alike wherever they stand.
        return {
            site: ChainedPatch(patches, name=site, dtype=dtype) for site, patches in chains.items()
        }
