"""Logs, labels and titles by name or path."""

import subprocess
import sys

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log import sources
from keras_peterrec.log.sources import load_labels, load_log, load_titles
from keras_peterrec.log.sources.simulated import Simulated


@pytest.fixture(autouse=True)
def empty_memory():
    sources._open_source.cache_clear()
    yield
    sources._open_source.cache_clear()


def test_simulated_data_by_name(whole_simulated):
    expected = Simulated()
    for name in ("source", "target"):
        log = load_log(f"simulated/{name}")
        assert log.fingerprint() == expected.domain(name).fingerprint()
    labels = load_labels("simulated/users", "gender")
    assert labels.fingerprint() == expected.labels("gender").fingerprint()
    for name in ("source", "target", "users"):
        assert load_titles(f"simulated/{name}") == expected.titles


def test_movielens_by_name_is_opened_once(monkeypatch):
    opened = []

    class Named(str):
        def summary(self):
            return self

    class Opened:
        titles = {"1": "Toy Story (1995)"}

        def __init__(self, version, path=None):
            opened.append(version)

        def domain(self, name):
            return Named(f"log {name}")

        def labels(self, column):
            return Named(f"labels {column}")

    monkeypatch.setattr(sources.movielens, "MovieLens", Opened)
    assert load_log("movielens-100k/all") == "log all"
    assert load_log("movielens-100k/children") == "log children"
    assert load_labels("movielens-100k/users", "age") == "labels age"
    assert load_titles("movielens-100k/source") == {"1": "Toy Story (1995)"}
    assert opened == ["100k"]
    assert load_log("movielens-1m/source") == "log source"
    assert opened == ["100k", "1m"]


def test_files_by_path(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\na,x,1\nb,y,2\n")
    (tmp_path / "users.csv").write_text("user_id,gender\na,F\nb,M\n")
    assert len(load_log(tmp_path / "log.csv")) == 2
    assert len(load_log(str(tmp_path / "log.csv"))) == 2
    assert load_labels(tmp_path / "users.csv", "gender").values.tolist() == ["F", "M"]
    assert load_titles(tmp_path / "log.csv") == {}


def test_a_file_may_be_named_like_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "movielens-20.csv").write_text("user_id,item_id,timestamp\na,x,1\nb,y,2\n")
    assert len(load_log("movielens-20.csv")) == 2


@pytest.mark.parametrize(
    "name",
    [
        "movielens-100k/acton",
        "movielens-100k",
        "movielens/source",
        "simulated/users",
        "tafeng/food",
    ],
)
def test_a_wrong_log_name_raises_with_the_right_names(name):
    message = "movielens-100k/children.*simulated/target. Received: `source` = '" + name
    with pytest.raises(InputError, match=message):
        load_log(name)


def test_a_wrong_labels_name_raises_with_the_right_names():
    with pytest.raises(InputError, match="movielens-1m/users.*'simulated/source'"):
        load_labels("simulated/source", "gender")


def test_other_mistakes_raise(tmp_path):
    with pytest.raises(InputError, match="file that exists. Received: .*gone.csv"):
        load_log(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="should end in one of"):
        load_log("clicks")
    with pytest.raises(InputError, match="`column`.*gender, age, spend, topics. Received: 'zip'"):
        load_labels("simulated/users", "zip")


def test_reading_data_imports_no_tensorflow():
    code = (
        "import sys; from keras_peterrec.log.sources import load_log; "
        "load_log('simulated/source'); "
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_users_own_movielens_folder_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_PETERREC_MOVIELENS", str(tmp_path / "nothing"))
    sources._open_source.cache_clear()
    with pytest.raises(InputError, match="nothing"):
        load_log("movielens-100k/all")


@pytest.mark.parametrize(("value", "expected"), [("", None), ("own", "own")])
def test_an_empty_variable_is_as_none(value, expected, monkeypatch):
    class Opened:
        def __init__(self, version, path=None):
            self.path = path

    monkeypatch.setattr(sources.movielens, "MovieLens", Opened)
    monkeypatch.setenv("KERAS_PETERREC_MOVIELENS", value)
    assert sources._open_source("movielens-100k").path == expected
