"""Exports that the tests of serving share."""

import pytest
from serving_samples import make_export, make_host


@pytest.fixture(scope="session")
def causal_export(tmp_path_factory):
    """A causal, tied host, its three tasks, and their export."""
    return make_export(make_host(), tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="session")
def masked_export(tmp_path_factory):
    """A bidirectional host with an output table of its own, likewise."""
    return make_export(make_host(causal=False, tied=False), tmp_path_factory.mktemp("masked"))


@pytest.fixture(params=["causal_export", "masked_export"])
def exported(request):
    """Both of them, one after the other."""
    return request.getfixturevalue(request.param)
