"""The learning rate of a model, on any number of devices."""

import keras


def learning_rate(model):
    """The rate that the next step takes, as a float."""
    # By way of NumPy: float() does not know a variable that several devices mirror.
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
