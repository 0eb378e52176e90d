"""Small hosts that tests share, and a check that nothing changed them."""

import functools
import shutil

import numpy as np
import pytest
from task_samples import make_host, make_task


@pytest.fixture
def dilations(request):
    """Those of one block; files that look at single blocks ask for two, as `DILATIONS`."""
    return getattr(request.module, "DILATIONS", (1,))


@pytest.fixture
def new_host(dilations):
    """The function that makes hosts, for tests that change one or need several."""
    return functools.partial(make_host, dilations=dilations)


def bits_of(model):
    return [weight.numpy().tobytes() for weight in model.weights]


def state_of(host):
    """All that a test could change."""
    flags = [one.trainable for one in (host.backbone, *host.backbone.weights)]
    return bits_of(host.pretrainer), flags, host.pretrainer.linear


made_host = functools.cache(make_host)


@pytest.fixture
def shared_host(dilations):
    """The function from `causal` to a host that no test may change."""
    given = {}

    def host_of(causal=True):
        host = made_host(causal, dilations=dilations)
        given.setdefault(causal, (host, state_of(host)))
        return host

    yield host_of
    changed = [host for host, before in given.values() if state_of(host) != before]
    if changed:
        made_host.cache_clear()  # so that this test alone fails
    assert not changed


@pytest.fixture(params=[True, False], ids=["causal", "masked"])
def any_host(request, shared_host):
    return shared_host(request.param)


@pytest.fixture(params=[True, False], ids=["causal", "masked"])
def any_new_host(request, new_host):
    """For tests that change it."""
    return new_host(request.param)


@pytest.fixture
def host(shared_host):
    return shared_host()


@pytest.fixture
def histories():
    return np.array(
        [[0, 0, 0, 4, 9, 5], [4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 15]]
    )


@pytest.fixture
def bits():
    """The function from a model to the bytes of all of its weights."""
    return bits_of


@pytest.fixture(scope="session")
def saved_bundle(tmp_path_factory):
    """The function from `dilations` to a bundle, written once."""

    @functools.cache
    def bundle_of(dilations):
        host, folder = made_host(True, dilations=dilations), tmp_path_factory.mktemp("bundle")
        make_task(host, "recommendation").save(folder / "films", host)
        return folder / "films"

    return bundle_of


@pytest.fixture
def bundle(saved_bundle, dilations, tmp_path):
    """A bundle for `host` that a test may change."""
    return shutil.copytree(saved_bundle(dilations), tmp_path / "films")
