"""A server of this process, with `export/models.config`, for the tests of `export/`."""

from types import SimpleNamespace

import pytest
from running_server import running
from serving_folder import EXPORT, save_model


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The addresses of a running server, `rest` and `grpc`, each "host:port"."""
    folder = tmp_path_factory.mktemp("serving")
    save_model(folder / "peterrec" / "1")
    config = (EXPORT / "models.config").read_text()
    (folder / "models.config").write_text(config.replace("/models/peterrec", f"{folder}/peterrec"))
    with running(model_config_file=str(folder / "models.config"), grpc_port=0) as state:
        addresses = [f"127.0.0.1:{port}" for port in (state.port, state.grpc_port)]
        yield SimpleNamespace(rest=addresses[0], grpc=addresses[1])
