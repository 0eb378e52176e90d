"""What the tests of experiments share."""

import pytest
from commands import WorkerHere

from keras_peterrec.experiments import engine, tune


@pytest.fixture(scope="module")
def here():
    """Experiments train in this process: another would import TensorFlow first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "WorkerProcess", WorkerHere)
        patch.setattr(tune, "WorkerProcess", WorkerHere)
        # Their coverage is what tests/metrics looks at.
        patch.setattr("keras_peterrec.metrics.measured.SAMPLES", 100)
        yield
