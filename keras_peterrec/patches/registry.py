"""Patch methods by name."""

import dataclasses

from keras_peterrec.errors import InputError
from keras_peterrec.patches.affine_methods import BiasTuning, Ia3, NormTuning, ScaleShift
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.compacter import Compacter
from keras_peterrec.patches.lora import Lora
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.soft_tokens import SoftTokens
from keras_peterrec.patches.stack import Stack

_METHODS = {}
_STACK = "stack"  # what a config calls a Stack, which has no short name


def register_patch_method(name, settings):
    """Makes a patch method known by `name`; a name can be taken once.

    Args:
        name: str, without `:` and `+`, which short names use.
        settings: subclass of PatchMethod, a frozen dataclass; see there for an example.

    Raises:
        InputError: the name is taken or not allowed, or `settings` is no such class.
    """
    if name in (*_METHODS, _STACK) or not name or set(":+") & set(name):
        raise InputError(
            "`name` should be a patch method that is not registered yet, without : and +. "
            f"Received: {name!r}."
        )
    if not (isinstance(settings, type) and issubclass(settings, PatchMethod)):
        raise InputError(f"`settings` should be a subclass of PatchMethod. Received: {settings!r}.")
    _METHODS[name] = settings


def patch_methods():
    """All patch methods, `{name: settings class}`."""
    return dict(_METHODS)


def get_patch(patch):
    """A patch method by its short name.

        name[:number][+name[:number]...]      "bottleneck", "lora:8", "lora:4+norm"

    The number is the method's main setting: a width, a rank, a count.

    Args:
        patch: str, or a PatchMethod, which is returned as it is.

    Raises:
        InputError: there is no such method, or the number is not allowed.
    """
    if isinstance(patch, PatchMethod):
        return patch
    if not isinstance(patch, str):
        raise InputError(f"`patch` should be a short name or a PatchMethod. Received: {patch!r}.")
    methods = [_single(part.strip(), patch) for part in patch.split("+")]
    return methods[0] if len(methods) == 1 else Stack(methods)


def short_name(patch):
    """The short name of a patch method; settings that it has no room for follow in brackets."""
    if isinstance(patch, Stack):
        name, told = "+".join(map(short_name, patch.methods)), {"methods"}
    else:
        name, told = _name_of(patch), {patch.number}
        number = getattr(patch, patch.number) if patch.number else None
        if number is not None:
            name += ":" + "/".join(map(str, number if isinstance(number, tuple) else (number,)))
    others = [
        f"{field.name}={getattr(patch, field.name)}"
        for field in dataclasses.fields(patch)
        if field.name not in told and getattr(patch, field.name) != field.default
    ]
    return f"{name}({', '.join(others)})" if others else name


def patch_to_config(patch):
    """Plain settings of a patch method, for JSON; `None` stays `None`."""
    if patch is None:
        return None
    if isinstance(patch, Stack):
        methods = [patch_to_config(method) for method in patch.methods]
        return {"method": _STACK, "methods": methods, "blocks": patch.blocks}
    return {"method": _name_of(patch), **dataclasses.asdict(patch)}


def patch_from_config(config):
    """The patch settings that `patch_to_config` wrote."""
    if config is None:
        return None
    config = dict(config)
    method = config.pop("method", None)
    if method == _STACK:
        return Stack(**{**config, "methods": list(map(patch_from_config, config["methods"]))})
    return _known(method, "method")(**config)


def _single(part, whole):
    name, colon, number = part.partition(":")
    settings = _known(name, "patch", whole)
    if not colon:
        return settings()
    if settings.number is None:
        raise InputError(f"`patch` {name!r} should have no number. Received: {whole!r}.")
    if not number.isdecimal():
        raise InputError(
            f"`patch` should have a positive integer after {name}:. Received: {whole!r}."
        )
    return settings(**{settings.number: int(number)})


def _known(name, argument, received=None):
    if name not in _METHODS:
        raise InputError(
            f"`{argument}` should be one of {', '.join(_METHODS)}. "
            f"Received: `{argument}` = {received or name!r}."
        )
    return _METHODS[name]


def _name_of(patch):
    for name, settings in _METHODS.items():
        if type(patch) is settings:
            return name
    raise InputError(
        "`patch` should be of a method that is registered; see `register_patch_method`. "
        f"Received: {patch!r}."
    )


register_patch_method("bottleneck", Bottleneck)
register_patch_method("compacter", Compacter)
register_patch_method("lora", Lora)
register_patch_method("ia3", Ia3)
register_patch_method("scale_shift", ScaleShift)
register_patch_method("bias", BiasTuning)
register_patch_method("norm", NormTuning)
register_patch_method("tokens", SoftTokens)
