"""Metrics of our own on the validation split, at the end of every epoch."""

import keras


class Validation(keras.callbacks.Callback):
    """Adds what a function measures to the logs of each epoch, as `val_*`.

    Callbacks that come after it (early stopping, TensorBoard) see the values.

    Args:
        measure: Callable without arguments that returns a dict of floats.
    """

    def __init__(self, measure):
        super().__init__()
        self.measure = measure

    def on_epoch_end(self, epoch, logs=None):
        logs.update({f"val_{name}": value for name, value in self.measure().items()})
