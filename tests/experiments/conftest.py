"""What the tests of experiments share."""

import pytest
from commands import WorkerHere

from keras_peterrec.experiments import engine


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(engine, "WorkerProcess", WorkerHere)
