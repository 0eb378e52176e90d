"""The patch methods by name. Importing it is cheap: a method's file is imported when it is used."""

from typing import TYPE_CHECKING, Any

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.lazy_import import imported

if TYPE_CHECKING:
    from keras_peterrec.patches.patch_method import PatchMethod

STACK = "stack"  # the name of a Stack in a config; in a short name it is a sum
# name -> "module:class", or a class that `register_patch_method` was given.
_METHODS: dict[str, Any] = {
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


def register_patch_method(name: str, settings: "type[PatchMethod]") -> None:
    """Makes a patch method known by a name. A name can be registered once.

    Args:
        name: str. Without the characters `:+,=()`, which have a meaning in short names.
        settings: subclass of PatchMethod. A frozen dataclass; see there for an example.

    Raises:
        InputError: the name is taken or not allowed, or `settings` is not such a class.

    Example:

    >>> register_patch_method("lora", Lora)
    Traceback (most recent call last):
    keras_peterrec.errors.InputError: `name` should be new, ...
    """
    from keras_peterrec.patches.patch_method import PatchMethod  # imports Keras

    if name in (*_METHODS, STACK) or not name or set(":+,=()") & set(name):
        raise InputError(
            "`name` should be new, and without any of :+,=(). "
            f"Received: `name` = {name!r}, with {', '.join(_METHODS)} registered."
        )
    if not (isinstance(settings, type) and issubclass(settings, PatchMethod)):
        refuse("settings", "a subclass of PatchMethod", settings)
    _METHODS[name] = settings


def patch_names() -> list[str]:
    """The names of all patch methods."""
    return list(_METHODS)


def patch_methods() -> "dict[str, type[PatchMethod]]":
    """All registered patch methods, `{name: settings class}`."""
    return {name: imported(method) for name, method in _METHODS.items()}


def get_patch_method(name: Any, argument: str, received: str | None = None) -> Any:
    """The settings class of a patch method.

    Args:
        argument: str. What the message calls it.
        received: str. The text in which the name stands. Defaults to `None`, the name alone.

    Raises:
        InputError: no method has this name.
    """
    if name not in _METHODS:
        raise InputError(
            f"`{argument}` should be one of {', '.join(_METHODS)}. "
            f"Received: `{argument}` = {received or name!r}."
        )
    return imported(_METHODS[name])
