"""A server on this machine, started with `export/models.config`, for the tests of `export/`."""

import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from serving_folder import EXPORT, save_model


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The addresses of a running server, `rest` and `grpc`, each "host:port"."""
    import client_rest

    folder = tmp_path_factory.mktemp("serving")
    save_model(folder / "peterrec" / "1")
    config = (EXPORT / "models.config").read_text()
    (folder / "models.config").write_text(config.replace("/models/peterrec", f"{folder}/peterrec"))
    ports = _free_ports(2)
    command = [sys.executable, "-m", "keras_peterrec", "serve"]
    command += ["--model-config-file", str(folder / "models.config")]
    command += ["--port", str(ports[0]), "--grpc-port", str(ports[1])]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with open(folder / "log", "w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            for _ in range(600):
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    if client_rest.available_versions(f"http://{addresses[0]}") == [1]:
                        break
                except client_rest.ServingError:
                    time.sleep(0.2)
            else:
                raise AssertionError((folder / "log").read_text())
            yield SimpleNamespace(rest=addresses[0], grpc=addresses[1])
        finally:
            process.terminate()


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
