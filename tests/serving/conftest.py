"""A second export, and both of them in turn."""

import pytest
from serving_samples import make_host, shared_export
from slow_cases import slow


@pytest.fixture(scope="session")
def masked_export(made_once):
    """A bidirectional host with an output table of its own, likewise."""
    return shared_export(made_once, "masked", make_host(causal=False, tied=False))


@pytest.fixture(params=["causal_export", *slow("masked_export")])
def exported(request):
    """Both of them, one after the other."""
    return request.getfixturevalue(request.param)
