"""Patch methods from their short names, such as `lora:4+norm`, and from JSON."""

import dataclasses
from typing import Any

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.registry import METHODS, STACK, get_patch_method
from keras_peterrec.patches.stack import Stack
from keras_peterrec.short_values import is_number, read_value


def get_patch(patch: str | PatchMethod) -> PatchMethod:
    """Reads the short name of a patch method.

        name[:setting,...][+name[:setting,...]...]

    A setting is a bare number (the method's main setting: a width or a rank), a bare
    word (an insertion, or a switch such as `inner_skip`) or `key=value`. Several values are
    joined by `/`, methods on top of each other by `+`; brackets group them.

    Args:
        patch: str or PatchMethod. A PatchMethod is returned as it is.

    Raises:
        InputError: the short name cannot be read, or a setting is not allowed.

    Example:

    >>> get_patch("bottleneck:8,serial,inner_skip") == Bottleneck(8, "serial", inner_skip=True)
    True
    >>> get_patch("lora:4,blocks=7/8+norm") == Stack([Lora(4, blocks=(7, 8)), NormTuning()])
    True
    """
    if isinstance(patch, PatchMethod):
        return patch
    if not isinstance(patch, str):
        refuse("patch", "a short name or a PatchMethod", patch)
    return _read_sum(patch, patch)


def patch_from_config(config: dict[str, Any] | None) -> PatchMethod | None:
    """The patch method of `PatchMethod.to_config`; `None` stays `None`."""
    if config is None:
        return None
    config = dict(config)
    method = config.pop("method", None)
    if method == STACK:
        return Stack(**{**config, "methods": list(map(patch_from_config, config["methods"]))})
    return get_patch_method(method, "method")(**config)


def register_patch_method(name: str, settings: type[PatchMethod]) -> None:
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
    if name in (*METHODS, STACK) or not name or set(":+,=()") & set(name):
        raise InputError(
            "`name` should be new, and without any of :+,=(). "
            f"Received: `name` = {name!r}, with {', '.join(METHODS)} registered."
        )
    if not (isinstance(settings, type) and issubclass(settings, PatchMethod)):
        refuse("settings", "a subclass of PatchMethod", settings)
    METHODS[name] = settings


def _read_sum(text, whole):
    terms = [_read_term(term.strip(), whole) for term in _terms(text, whole)]
    return terms[0] if len(terms) == 1 else Stack(terms)


def _terms(text, whole):
    """The parts of a sum: what stands between the + that are outside of brackets."""
    terms, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "+" and depth == 0:
            terms.append("")
        else:
            terms[-1] += character
        if depth < 0:
            break
    if depth:
        raise InputError(f"`patch` should have brackets in pairs. Received: {whole!r}.")
    return terms


def _read_term(text, whole):
    if text.startswith("("):
        inner, _, settings = text[1:].rpartition(")")
        patch = _read_sum(inner, whole)
        if not settings:
            return patch
        name, colon, settings = settings.partition(":")
        if name.strip() or not colon:
            raise InputError(f"`patch` should have : or + after a bracket. Received: {whole!r}.")
        return patch.replace(**_read_settings(type(patch), "(...)", settings, whole))
    name, colon, settings = text.partition(":")
    method = get_patch_method(name.strip(), "patch", whole)
    return method(**_read_settings(method, name, settings, whole) if colon else {})


def _read_settings(method, name, text, whole):
    settings = {}
    fields = {field.name: field for field in dataclasses.fields(method) if field.name != "methods"}
    for part in map(str.strip, text.split(",")):
        key, equals, value = (side.strip() for side in part.partition("="))
        if equals:
            value = read_value(value)
        elif is_number(part):
            key, value = method.number, read_value(part)
        elif part in method.words:
            key, value = method.words[part], part
        else:
            value = True
        switch = key in fields and isinstance(fields[key].default, bool)
        if key not in fields or key in settings or isinstance(value, bool) != switch:
            raise InputError(
                f"`patch` should have after {name}: some of {_allowed(method, fields)}, each "
                f"once. Received: {part!r} in {whole!r}."
            )
        settings[key] = value
    return settings


def _allowed(method, fields):
    """The settings that a method takes in a short name, for a message."""
    number = [f"a number ({method.number})"] if method.number else []
    switches = [name for name, field in fields.items() if isinstance(field.default, bool)]
    others = {*fields} - {method.number, *switches, *method.words.values()}
    named = [f"{name}=..." for name in fields if name in others]
    return ", ".join([*number, *method.words, *switches, *named])
