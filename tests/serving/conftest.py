"""A second export, and both of them in turn."""

import pytest
from serving_samples import make_export, make_host


@pytest.fixture(scope="session")
def masked_export(tmp_path_factory):
    """A bidirectional host with an output table of its own, likewise."""
    return make_export(make_host(causal=False, tied=False), tmp_path_factory.mktemp("masked"))


@pytest.fixture(params=["causal_export", "masked_export"])
def exported(request):
    """Both of them, one after the other."""
    return request.getfixturevalue(request.param)
