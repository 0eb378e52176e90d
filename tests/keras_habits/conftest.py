"""A backbone that tasks share, some histories, and a check that nothing changed the backbone."""

import keras
import numpy as np
import pytest

from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.strategies import build_task

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture
def backbone():
    """A shared host, which no test may change."""
    host = ConvolutionNetwork(16, hidden_dim=8, dilations=(1,))
    before = [weight.numpy().tobytes() for weight in host.weights]
    flags = [weight.trainable for weight in host.weights]
    yield host
    assert [weight.numpy().tobytes() for weight in host.weights] == before
    assert [weight.trainable for weight in host.weights] == flags and host.trainable


@pytest.fixture
def new_task(backbone):
    """The function that builds tasks of three classes on the host."""

    def make(name="task", head=None, patch="bottleneck:2"):
        head = LinearHead(3) if head is None else head
        return build_task(backbone, head, "patch", patch, name=name)

    return make


@pytest.fixture
def rows():
    """Histories `[12, 6]` and a class of each."""
    histories = np.array([[0, 0, 0, 4, 9, 5], [4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 1, 15]] * 4, "int32")
    return histories, np.arange(12) % 3


@pytest.fixture
def fitted(rows):
    """The function that compiles a model and trains it for an epoch.

    With `compiled` as users have it, which takes seconds; else as Python does.
    """

    def fit(model, loss=LOSS, rate=0.01, metrics=None, compiled=False, **arguments):
        optimizer = keras.optimizers.Adam(rate)
        model.compile(optimizer, loss=loss, metrics=metrics, run_eagerly=not compiled)
        if model.built:  # or Keras traces the step twice
            optimizer.build(model.trainable_variables)
        model.fit(*rows, verbose=0, **arguments)
        return model

    return fit
