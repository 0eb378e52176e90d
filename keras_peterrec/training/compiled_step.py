"""Loss and gradients as a function of weights, compiled once for all models of one form.

Only this part of a training step is compiled by XLA. The optimizer's updates are many small
operations: XLA takes seconds to compile them, and TensorFlow runs them just as fast. Whether a step
is compiled at all, `worth_compiling` says.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_peterrec.keras_internals import stored_variables
from keras_peterrec.training.seeds import random_states
from keras_peterrec.types import Model, Tensor, Variable

# {form and shapes: function}. XLA keeps what it has compiled until the process ends, so a second
# model of the same form should not make it compile anew.
_COMPILED = {}
# Types of which any two values can be compared.
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, types.FunctionType)


def loss_and_gradients(
    model: Model, x: Tensor, y: Tensor, sample_weight: Tensor = None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The loss of a batch, the model's outputs, and the gradients of its trainable variables.

    The random seeds of the model and its loss move on, as in `model(x, training=True)`.

    Args:
        model: keras.Model with ReplicatedTraining, compiled.
        x, y, sample_weight: as of `keras.Model.train_step`.

    Returns:
        The loss, a scalar; the outputs; and a list with one gradient for each of
        `model.trainable_variables`, scaled as the optimizer asks.
    """
    weights = Weights(model, left_out=model.unused_variables())
    given = {"x": x, "y": y, "sample_weight": sample_weight}
    given = {name: value for name, value in given.items() if value is not None}

    def compute(scale, values, given):
        with tf.GradientTape() as tape:
            with weights.taken(values, tape) as taken:
                y_pred = model(given["x"], training=True)
                loss = model.compute_loss(
                    given["x"], given.get("y"), y_pred, given.get("sample_weight"), training=True
                )
                changed = taken.changed()
            scaled = loss * scale
        return loss, y_pred, tape.gradient(scaled, weights.trained(values)), changed

    scale = model.optimizer.scale_loss(tf.constant(1.0))
    loss, y_pred, gradients, changed = call_compiled(
        model, shared_form(model, weights), compute, scale, weights.values(), given
    )
    weights.assign(changed)
    return loss, y_pred, weights.of_variables(gradients)


def call_compiled(
    model: Model, key: Hashable, function: Callable[..., Tensor], *arguments: Any
) -> Any:
    """Calls a function that XLA compiles, or has compiled for another model.

    Args:
        model: keras.Model. Nothing is compiled unless its `jit_compile` says so.
        key: hashable, or `None` to share nothing. Functions of equal keys compute the same from
            the same arguments.
        function: callable. Of tensors alone: it reads no variable and writes none.
        *arguments: nested tensors.
    """
    if not model.jit_compile:
        return function(*arguments)
    specs = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), arguments)
    place = key, repr(specs)  # names of the parts, shapes and types
    compiled = None if key is None else _COMPILED.get(place)
    if compiled is None:
        compiled = tf.function(function, autograph=False, jit_compile=True)
        compiled = compiled.get_concrete_function(*specs)
        if key is not None:
            _COMPILED[place] = compiled
    return compiled(*arguments)


def shared_form(model: Model, weights: "Weights") -> tuple | None:
    """What two models have in common that can share a compiled step; `None` shares nothing.

    Args:
        model: keras.Model. Its method `form` says what it computes; see `form_of`.
        weights: Weights of the model.
    """
    if not hasattr(model, "form"):
        return None
    try:
        return form_of(model), form_of(model.loss), weights.form()
    except UnknownForm:
        return None


class Weights:
    """A model's variables as what a function without variables takes and gives back.

    Args:
        left_out: sequence of variables that the function gets in another way. Defaults to `()`.
    """

    def __init__(self, model: Model, left_out: Sequence[Variable] = ()) -> None:
        self._model = model
        others = {id(variable) for variable in left_out}
        seeds = {id(v): v for v in random_states(model)}
        every = {id(v): v for v in stored_variables(model.variables)} | seeds
        self._variables = [v for v in every.values() if id(v) not in others]
        trained = {id(variable) for variable in model.trainable_variables}
        self._is_trained = [id(variable) in trained for variable in self._variables]
        self._seeds = [n for n, v in enumerate(self._variables) if id(v) in seeds]

    def form(self) -> tuple:
        """What `form_of` compares."""
        return tuple(self._is_trained), self._model.compute_dtype

    def values(self) -> list[Tensor]:
        """The variables' values, tensors."""
        return [tf.convert_to_tensor(v.value) for v in self._variables]

    def trained(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Those of `values` that are trained."""
        return [value for value, is_trained in zip(values, self._is_trained) if is_trained]

    def seeds(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The random seeds among `values`."""
        return [values[number] for number in self._seeds]

    def with_seeds(self, values: Sequence[Tensor], seeds: Sequence[Tensor]) -> list[Tensor]:
        """`values` with other random seeds."""
        values = list(values)
        for number, seed in zip(self._seeds, seeds):
            values[number] = seed
        return values

    def with_new(self, seeds: Sequence[Tensor]) -> dict[int, Tensor]:
        """What `assign` takes, for random seeds."""
        return dict(zip(self._seeds, seeds))

    def taken(self, values: Sequence[Tensor], tape: tf.GradientTape) -> "_Taken":
        """A context in which the model reads `values` in place of its variables."""
        return _Taken(self, values, tape)

    def assign(self, changed: dict[int, Tensor]) -> None:
        """Gives the variables their new values, `{number: tensor}`."""
        for number, value in changed.items():
            self._variables[number].assign(value)

    def of_variables(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of `trained` as gradients of the model's trainable variables, in order."""
        trained = self.trained(self._variables)
        by_variable = dict(zip(map(id, trained), gradients))
        return [by_variable.get(id(variable)) for variable in self._model.trainable_variables]


class _Taken:
    """See `Weights.taken`."""

    def __init__(self, weights, values, tape):
        self._weights, self._values = weights, values
        tape.watch([v for v in weights.trained(values) if v.dtype.is_floating])
        self._scope = keras.StatelessScope(list(zip(weights._variables, values)))

    def __enter__(self):
        self._scope.__enter__()
        return self

    def __exit__(self, *error):
        self._scope.__exit__(*error)

    def seeds(self):
        """The random seeds as the model has left them."""
        of = self._weights
        return [self._scope.get_current_value(of._variables[number]) for number in of._seeds]

    def changed(self):
        """The variables that the model has assigned to, `{number: tensor}`."""
        new = {}
        for number, (variable, value) in enumerate(zip(self._weights._variables, self._values)):
            now = self._scope.get_current_value(variable)
            if now is not value:
                new[number] = now
        return new


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
