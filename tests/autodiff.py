"""Values and gradients of a function by the backend's own differentiation."""

import keras
import numpy as np


def value_and_gradients(function, *arguments, jit=False):
    """`function(*arguments)`, a scalar, and its gradient by each argument, in NumPy."""
    arguments = [keras.ops.convert_to_tensor(argument) for argument in arguments]
    if keras.backend.backend() == "jax":
        import jax

        step = jax.value_and_grad(function, argnums=tuple(range(len(arguments))))
        value, gradients = (jax.jit(step) if jit else step)(*arguments)
    else:
        value, gradients = _by_tape(function, arguments, jit)
    return tuple(np.asarray(part) for part in (value, *gradients))


def _by_tape(function, arguments, jit):
    import tensorflow as tf

    def step(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        gradients = tape.gradient(value, arguments)
        return value, [tf.convert_to_tensor(gradient) for gradient in gradients]

    return (tf.function(step, jit_compile=True) if jit else step)(*arguments)
