"""Adam that updates all small variables as one vector. Needs TensorFlow."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_peterrec.keras_internals import OpenAdam
from keras_peterrec.types import Initializer, Json, Tensor, Variable


@keras.saving.register_keras_serializable("keras_peterrec")
class FlatAdam(OpenAdam):
    """Keras' Adam, with one update for all small variables together.

    A network has some hundred small variables, and an update of each is a dozen operations: half
    of what is traced and compiled for a training step. Here the gradients of all variables of at
    most `flat_values` numbers are laid end to end, and their moments are kept that way: one
    update, whose parts are then taken off the variables. The result is that of Keras' Adam on
    dense gradients.

    Under a `tf.distribute` strategy, and with `amsgrad` or `weight_decay`, every variable is
    updated on its own, as in Keras.

    Args:
        learning_rate, beta_1, beta_2, epsilon, **kwargs: see `keras.optimizers.Adam`.
        flat_values: int. The largest variable that is updated with others, in numbers; 0 for
            none. Defaults to `100_000`: a larger one would only be copied.

    Example:

    >>> model.compile(FlatAdam(1e-3), loss="mse")
    """

    def __init__(self, *args: Any, flat_values: int = 100_000, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.flat_values = flat_values
        self._flat = {}  # {id of a variable: its number among the small ones}
        self._flat_slots = {}
        self._first_rows = {}  # {id of a variable: the first row that is trained}

    def freeze_rows(self, variable: Variable, rows: int) -> None:
        """Leaves the first rows of a table as they are, to the bit.

        Their gradients count as zero, and so their moments stay zero. Call it before the first
        step, and without `weight_decay`.

        Args:
            variable: a table `[V, C]`.
            rows: int. How many.
        """
        self._first_rows[id(_raw(variable))] = rows

    def add_optimizer_variables(
        self,
        trainable_variables: list[Variable] | None,
        name: str,
        initializer: Initializer = "zeros",
    ) -> Any:
        alone = tf.distribute.has_strategy() or self.amsgrad or self.weight_decay
        small = [] if alone else [v for v in trainable_variables if self._is_small(v)]
        self._flat = {id(_raw(variable)): number for number, variable in enumerate(small)}
        self._flat_variables = [_raw(variable) for variable in small]
        others = [v for v in trainable_variables if id(_raw(v)) not in self._flat]
        names = [name] if isinstance(name, str) else name
        made = super().add_optimizer_variables(others, names, initializer)
        if small:
            values = sum(variable.shape.num_elements() for variable in self._flat_variables)
            self._flat_slots = {slot: self.add_variable((values,), name=slot) for slot in names}
        # One entry for each variable, which Keras finds by the variable's number.
        filled = []
        for of_others in made:
            rest = iter(of_others)
            filled.append(
                [None if id(_raw(v)) in self._flat else next(rest) for v in trainable_variables]
            )
        self.slot_lists.update(dict(zip(names, filled)))
        return filled[0] if isinstance(name, str) else tuple(filled)

    def update_all(
        self, grads: list[Tensor], variables: list[Variable], learning_rate: Any
    ) -> None:
        flat, others = {}, []
        grads = [self._without_frozen_rows(g, v) for g, v in zip(grads, variables)]
        for gradient, variable in zip(grads, variables):
            if id(_raw(variable)) in self._flat:
                flat[self._flat[id(_raw(variable))]] = gradient
            else:
                others.append((self.alone(gradient), variable))
        if flat:
            self._update_flat(flat, learning_rate)
        if others:
            gradients, alone = zip(*others)
            super().update_all(gradients, alone, learning_rate)

    def _without_frozen_rows(self, gradient, variable):
        first = self._first_rows.get(id(_raw(variable)))
        if first is None:
            return gradient
        if isinstance(gradient, tf.IndexedSlices):
            rows = gradient.indices
            values = tf.where((rows >= first)[:, None], gradient.values, 0.0)
            return tf.IndexedSlices(values, rows, gradient.dense_shape)
        return tf.concat([tf.zeros_like(gradient[:first]), gradient[first:]], 0)

    def alone(self, gradient: Tensor) -> bool | Tensor:
        """The gradient of a variable that is updated on its own: of single rows, as a whole table.

        Keras would square the gradients of a repeated row before it adds them up.
        """
        return tf.convert_to_tensor(gradient)

    def _update_flat(self, gradients, learning_rate):
        variables = self._flat_variables
        sizes = [variable.shape.num_elements() for variable in variables]
        parts = [
            tf.zeros([size]) if (g := gradients.get(number)) is None else tf.reshape(g, [size])
            for number, size in enumerate(sizes)
        ]
        gradient = tf.concat(parts, 0)
        m, v = self._flat_slots["momentum"].value, self._flat_slots["velocity"].value
        new_m = m + (gradient - m) * (1 - self.beta_1)
        new_v = v + (tf.square(gradient) - v) * (1 - self.beta_2)
        m.assign(new_m)
        v.assign(new_v)
        change = new_m * self.step_size(learning_rate) / (tf.sqrt(new_v) + self.epsilon)
        for number, (part, variable) in enumerate(zip(tf.split(change, sizes), variables)):
            if number in gradients:
                variable.assign_sub(tf.reshape(part, variable.shape))

    def step_size(self, learning_rate: Any) -> Tensor:
        """`lr · sqrt(1 - beta_2^t) / (1 - beta_1^t)` of the coming step t."""
        step = ops.cast(self.iterations + 1, learning_rate.dtype)
        beta_1_power = ops.power(ops.cast(self.beta_1, step.dtype), step)
        beta_2_power = ops.power(ops.cast(self.beta_2, step.dtype), step)
        return learning_rate * ops.sqrt(1 - beta_2_power) / (1 - beta_1_power)

    def _is_small(self, variable):
        raw = _raw(variable)
        return raw.dtype == tf.float32 and raw.shape.num_elements() <= self.flat_values

    def get_config(self) -> Json:
        return {**super().get_config(), "flat_values": self.flat_values}


def _raw(variable):
    """TensorFlow's variable of a Keras variable, or the variable itself."""
    return variable.value if isinstance(variable, keras.Variable) else variable
