"""Every patch method beside its cost on a host."""

import math

from keras_peterrec.errors import InputError
from keras_peterrec.patches.registry import get_patch, patch_methods, short_name
from keras_peterrec.transfer.host import backbone_weights


def patch_table(host, patches=None):
    """What patch methods cost on a host.

    Args:
        host: Backbone.
        patches: list of PatchMethod or short names. Defaults to `None`: all that are
            registered, with their defaults.

    Returns:
        list of dict of `patch` (short name), `parameters` of patches and task tokens,
        `share` of the parameters of the host's convolutions, and `merges`: whether it can
        be folded into a host (see `merge_task`). A method that does not fit the host has
        `None` for numbers.
    """
    convolutions = sum(
        math.prod(weight.shape)
        for path, weight in backbone_weights(host).items()
        if "/convolution_" in path
    )
    return [_row(get_patch(patch), host, convolutions) for patch in patches or patch_methods()]


def _row(patch, host, convolutions):
    try:
        patch = patch.for_host(host)
    except InputError:
        return {"patch": short_name(patch), "parameters": None, "share": None, "merges": None}
    blocks = [patch.make_patches(block, index) for index, block in enumerate(host.blocks, 1)]
    layers = [layer for sites in blocks for layer in sites.values()]
    shape = (None, None, host.hidden_dim)
    for layer in layers:
        layer.build(shape, shape)
    parameters = sum(layer.count_params() for layer in layers) + patch.tokens * host.hidden_dim
    return {
        "patch": short_name(patch),
        "parameters": parameters,
        "share": parameters / convolutions,
        "merges": patch.merges(blocks),
    }
