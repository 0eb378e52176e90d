"""A moving average of the weights, which is better than any of them."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from keras_peterrec.training.devices import Devices

# An update reads and writes every weight, so the steps between two of them grow with the model.
STEPS = 10
VALUES_A_STEP = 250_000


class WeightAverage(keras.callbacks.Callback):
    """Keeps an exponential moving average a of the trained weights w of a model.

        a ← a + (1 - d) (w - a),   d = min(decay^n, k / (k + 9)) at update k

    every n steps and at the end of an epoch. With a constant learning rate the weights move around
    a good place; their average lies nearer to it, as if the rate had fallen, and training goes on
    at its full rate. The second term of d forgets the first, random weights quickly.

    Put this callback before the one that measures.

    Args:
        model: keras.Model, built.
        decay: float. Of a step: the average is over about `1 / (1 - decay)` steps.

    Attributes:
        variables: list of variables, which are to be saved with the model's.

    Example:

    >>> average = WeightAverage(model, decay=0.998)
    >>> model.fit(batches, callbacks=[average])
    >>> with average.in_use():
    ...     model.evaluate(validation)

    Source: Polyak and Juditsky, 1992; Izmailov et al., UAI 2018.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        super().__init__()
        self._trained = model.trainable_variables
        with Devices.of(model).scope():
            self._updates = keras.Variable(0.0, trainable=False, name="updates")
            self._averages = [
                keras.Variable(tf.identity(v.value), trainable=False, name="average")
                for v in self._trained
            ]
        self.variables = [self._updates, *self._averages]
        values = sum(variable.shape.num_elements() for variable in self._trained)
        self._every = max(STEPS, values // VALUES_A_STEP)
        self._decay = decay**self._every
        self._compiled = tf.function(self._update, autograph=False)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if (batch + 1) % self._every == 0:
            self._compiled()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._compiled()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Within this block, the model's weights are the averages."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def keep(self) -> None:
        """Replaces the model's weights by the averages."""
        for weight, average in zip(self._trained, self._averages):
            weight.assign(average.value)

    def _update(self):
        count = self._updates.value
        decay = tf.minimum(self._decay, count / (count + 9.0))
        self._updates.assign(count + 1.0)
        for weight, average in zip(self._trained, self._averages):
            average.assign(average + tf.cast(1.0 - decay, average.dtype) * (weight - average))

    def _swap(self):
        for weight, average in zip(self._trained, self._averages):
            value = tf.identity(weight.value)
            weight.assign(average.value)
            average.assign(value)
