"""A small host, and a way to check that nothing changed it."""

import functools

import numpy as np
import pytest
from task_samples import make_host, make_task


@pytest.fixture
def dilations():
    """Those of one block; files that look at single blocks ask for two."""
    return (1,)


@pytest.fixture
def new_host(dilations):
    """The function that makes hosts."""
    return functools.partial(make_host, dilations=dilations)


@pytest.fixture(params=[True, False], ids=["causal", "masked"])
def any_host(request, new_host):
    return new_host(request.param)


@pytest.fixture
def host(new_host):
    return new_host()


@pytest.fixture
def histories():
    return np.array(
        [[0, 0, 0, 4, 9, 5], [4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 15]]
    )


@pytest.fixture
def bits():
    """The function from a model to the bytes of all of its weights."""
    return lambda model: [weight.numpy().tobytes() for weight in model.weights]


@pytest.fixture
def bundle(host, tmp_path):
    make_task(host, "recommendation").save(tmp_path / "films", host)
    return tmp_path / "films"
