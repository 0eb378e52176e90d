"""Settings of the Compacter method."""

from dataclasses import dataclass

from keras_peterrec.errors import Misfit
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.patch_method import check_positive


@dataclass(frozen=True)
class Compacter(Bottleneck):
    """Bottlenecks whose matrices are sums of Kronecker products: fewer parameters.

    Args:
        width, insertion, inner_skip, blocks: See `Bottleneck`.
        factor: int. n, the size of the small factors; it divides the host's channels and
            the width. Defaults to `4`.

    Source: Mahabadi et al., "Compacter", NeurIPS 2021; see `KroneckerPatch`.
    """

    factor: int = 4

    def __post_init__(self):
        super().__post_init__()
        check_positive("factor", self.factor)

    def for_host(self, host):
        settings = super().for_host(host)
        widths = settings.width if isinstance(settings.width, tuple) else (settings.width,)
        if self.width is None:  # the default's next multiple
            widths = (-(-widths[0] // self.factor) * self.factor,)
            settings = settings.replace(width=widths[0])
        if host.hidden_dim % self.factor or any(width % self.factor for width in widths):
            raise Misfit(
                f"`factor` should divide the host's {host.hidden_dim} channels and the width "
                f"{', '.join(map(str, widths))}. Received: `factor` = {self.factor}."
            )
        return settings

    def patch(self, width, parallel, **arguments):
        from keras_peterrec.patches.kronecker_patch import KroneckerPatch

        return KroneckerPatch(width, self.factor, parallel, self.inner_skip, **arguments)
