"""What the tests of experiments share."""

import pytest

from keras_peterrec.experiments import engine


class Here:
    """A `WorkerProcess` of this process: another would import TensorFlow first."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def call(self, function, **arguments):
        return function(**arguments)


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(engine, "WorkerProcess", Here)
