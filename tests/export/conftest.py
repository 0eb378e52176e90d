"""What the tests of the serving folder share."""

import pytest
import serving_folder  # noqa: F401 so that the clients can be imported
from rest_stub import RestStub


@pytest.fixture
def stub():
    """A server on this machine that answers as TensorFlow Serving does over REST."""
    with RestStub() as server:
        yield server
