"""Where in a residual block a bottleneck acts."""

from dataclasses import dataclass

from keras_peterrec.errors import InputError
from keras_peterrec.layers.sites import ACTIVATION_SITES, CONVOLUTION_SITES


@dataclass(frozen=True)
class Insertion:
    """Which sites of a residual block a patch acts at, and on what.

    Args:
        name: str.
        sites: tuple of str, of `keras_peterrec.layers.SITES`.
        parallel: bool. `True`: the patch reads what the site's convolution read.
            `False`: in series, it reads what the site gives.
    """

    name: str
    sites: tuple
    parallel: bool


# The four of the paper's Fig. 3. (e), `parallel_after_activation`, is the bad one:
# its sums mix with the residual sum. It is kept for the ablation.
INSERTIONS = {
    insertion.name: insertion
    for insertion in (
        Insertion("serial", CONVOLUTION_SITES, parallel=False),
        Insertion("serial_single", ACTIVATION_SITES[1:], parallel=False),
        Insertion("parallel", CONVOLUTION_SITES, parallel=True),
        Insertion("parallel_after_activation", ACTIVATION_SITES, parallel=True),
    )
}


def get_insertion(name):
    """The insertion called `name`; refuses names that are none."""
    if name not in INSERTIONS:
        raise InputError(
            f"`insertion` should be one of {', '.join(INSERTIONS)}. "
            f"Received: `insertion` = {name!r}."
        )
    return INSERTIONS[name]
