"""Random numbers that depend on a run's seed alone, and a caller's that do not notice."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np

from keras_peterrec.tensorflow_internals import global_seed
from keras_peterrec.types import Model, Variable


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Makes everything random within a block reproducible, and nothing after it.

    The initial weights and the dropout of Keras layers take their seeds from Python's
    `random`; a shuffled `tf.data.Dataset` combines its own seed with TensorFlow's global
    one. So a run must set the global states. On leaving the block, also by an exception,
    the states of Python, NumPy and TensorFlow are as they were before.

    `keras.utils.set_random_seed` sets the same states and does not restore them. It also
    resets the generator behind `keras.random.normal(shape)` and its like; this package
    never calls these without a seed, so that generator is left alone.

    The states belong to the process: do not run two such blocks in two threads.

    Example:

    >>> with seeded(0):
    ...     model = build_model()
    ...     model.fit(batches)
    """
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with global_seed(seed):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def random_states(model: Model) -> list[Variable]:
    """The variables from which a model and its loss draw random numbers.

    Args:
        model: keras.Model. A loss that draws has a `seed_generator`, as `TargetLoss` does.

    Returns:
        list of keras.Variable, always in the same order.
    """
    generator = getattr(getattr(model, "loss", None), "seed_generator", None)
    return seed_states(model) + ([generator.state] if generator is not None else [])


def seed_states(model: Model) -> list[Variable]:
    """The variables from which a model draws random numbers, in order."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]
