"""What a layer or a model computes, apart from the values of its weights.

Two with equal forms can share a graph: the compiled step of two tasks.
"""

import dataclasses
import functools
import types
from typing import Any

import keras

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, types.FunctionType)


class UnknownForm(Exception):
    """Something in a layer cannot be compared, so the layer shares nothing."""


def form_of(value: Any) -> object:
    """The form of a layer, a loss or anything in them, as a hashable value.

    It compares whatever a class keeps in its objects, so it also sees the settings of a patch or a
    head that is not ours; names and random seeds are left out. A class that knows better has a
    method `form`.

    Raises:
        UnknownForm: a value is of a type that cannot be compared.
    """
    if callable(getattr(value, "form", None)):
        return type(value), form_of(value.form())
    if isinstance(value, keras.layers.Layer):
        return type(value), value.dtype_policy.name, form_of(_own_attributes(value))
    if isinstance(value, keras.losses.Loss):
        return type(value), form_of(_without_names(value.get_config()))
    if isinstance(value, keras.Variable):
        return tuple(value.shape), value.dtype
    if isinstance(value, (keras.initializers.Initializer, keras.random.SeedGenerator)):
        return type(value)
    if isinstance(value, (list, tuple)):
        return tuple(form_of(part) for part in value)
    if isinstance(value, dict):
        return tuple((key, form_of(part)) for key, part in value.items())
    if dataclasses.is_dataclass(value):
        return type(value), form_of(vars(value))
    if isinstance(value, _PLAIN):
        return value
    raise UnknownForm(f"{type(value).__name__} cannot be compared")


def _own_attributes(layer):
    """The attributes that a class adds to those of every Keras layer."""
    return {
        key: part
        for key, part in vars(layer).items()
        # TensorFlow's own names start with `_self_`.
        if key not in _of_every_layer() and key != "seed" and not key.startswith("_self_")
    }


def _without_names(config):
    return {key: part for key, part in config.items() if key not in ("name", "seed")}


@functools.cache
def _of_every_layer():
    return set(vars(keras.layers.Layer()))
