"""The patch methods by name. Importing it is cheap: a method's file is imported when it is used."""

from typing import Any

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.lazy_import import imported

STACK = "stack"  # the name of a Stack in a config; in a short name it is a sum
# name -> "module:class", or a class that `register_patch_method` was given.
METHODS: dict[str, Any] = {
    "bottleneck": "patches.bottleneck:Bottleneck",
    "item_lora": "patches.item_patches:ItemLora",
    "item_bottleneck": "patches.item_patches:ItemBottleneck",
    "compacter": "patches.compacter:Compacter",
    "lora": "patches.lora:Lora",
    "ia3": "patches.affine:Ia3",
    "scale_shift": "patches.affine:ScaleShift",
    "bias": "patches.affine:BiasTuning",
    "norm": "patches.affine:NormTuning",
}


def patch_names() -> list[str]:
    """The names of all patch methods."""
    return list(METHODS)


def patch_methods() -> dict[str, type]:
    """All registered patch methods, `{name: settings class}`."""
    return {name: imported(method) for name, method in METHODS.items()}


def name_of(patch: Any) -> str:
    """The name of a patch method's class.

    Raises:
        InputError: it is not registered.
    """
    for name, settings in patch_methods().items():
        if type(patch) is settings:
            return name
    refuse("patch", "of a registered method; see `register_patch_method`", patch)


def get_patch_method(name: Any, argument: str, received: str | None = None) -> Any:
    """The settings class of a patch method.

    Args:
        argument: str. What the message calls it.
        received: str. The text in which the name stands. Defaults to `None`, the name alone.

    Raises:
        InputError: no method has this name.
    """
    if name not in METHODS:
        raise InputError(
            f"`{argument}` should be one of {', '.join(METHODS)}. "
            f"Received: `{argument}` = {received or name!r}."
        )
    return imported(METHODS[name])
