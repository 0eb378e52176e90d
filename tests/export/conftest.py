"""What the tests of the serving folder share."""

import sys
from pathlib import Path

import pytest
from rest_stub import RestStub

EXPORT = Path(__file__).parents[2] / "export"
sys.path.insert(0, str(EXPORT))  # the clients are scripts, not parts of the package


@pytest.fixture
def stub():
    """A server on this machine that answers as TensorFlow Serving does over REST."""
    with RestStub() as server:
        yield server
