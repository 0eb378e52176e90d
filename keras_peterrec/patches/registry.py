"""Patch methods by name."""

import dataclasses

from keras_peterrec.errors import InputError
from keras_peterrec.patches.bottleneck import Bottleneck

_METHODS = {}


def register_patch_method(name, settings):
    """Makes a patch method known by `name`; a name can be taken once.

    Args:
        name: str.
        settings: Frozen dataclass with `for_host(host)` and
            `make_patches(block, dtype) -> {site: layer}`; see `Bottleneck`.

    Raises:
        InputError: the name is taken.
    """
    if name in _METHODS:
        raise InputError(
            f"`name` should be a patch method that is not registered yet. Received: {name!r}."
        )
    _METHODS[name] = settings


def patch_to_config(patch):
    """Plain settings of a patch method, for JSON; `None` stays `None`."""
    if patch is None:
        return None
    name = next(name for name, settings in _METHODS.items() if type(patch) is settings)
    return {"method": name, **dataclasses.asdict(patch)}


def patch_from_config(config):
    """The patch settings that `patch_to_config` wrote."""
    if config is None:
        return None
    config = dict(config)
    method = config.pop("method", None)
    if method not in _METHODS:
        raise InputError(
            f"`method` should be one of {', '.join(_METHODS)}. Received: `method` = {method!r}."
        )
    return _METHODS[method](**config)


register_patch_method("bottleneck", Bottleneck)
