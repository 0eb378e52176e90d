"""A small source log that the tasks of these tests read."""

import numpy as np
import pytest

from keras_peterrec.log.sources.simulated import Simulated
from keras_peterrec.log.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def simulated():
    return Simulated(users=160, items=60, target_items=40, events=16, target_events=3, seed=2)


@pytest.fixture(scope="session")
def source(simulated):
    log = simulated.domain("source")
    return log.encode(Vocabulary.from_counts(log.item_ids, np.bincount(log.items)))
