"""Versions that come, fail and go while requests are answered."""

import asyncio
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import small_models
import tensorflow as tf
from running_server import ask, predict, running
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from keras_peterrec.errors import InputError
from keras_peterrec.server import model_versions
from keras_peterrec.server.model_config import ModelConfig, read_config_file
from keras_peterrec.server.model_versions import ModelVersions
from keras_peterrec.serving.warmup import PATH as WARMUP


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Versions that answer 1.5 and 101.5 to 2."""
    folder = tmp_path_factory.mktemp("originals")
    return [small_models.save_half(folder, n, offset) for n, offset in enumerate((0.5, 100.5))]


def answer(state):
    status, body = predict(state.port, "peterrec", {"instances": [2.0]})
    return body["predictions"][0] if status == 200 else status


def states(state):
    _, text, _ = ask(state.port, "GET", "/v1/models/peterrec")
    return {int(s["version"]): s["state"] for s in json.loads(text)["model_version_status"]}


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def load(state):
    """Four clients that ask all the time; yields the set of their answers."""
    found, stop = set(), threading.Event()

    def work():
        while not stop.is_set():
            found.add(answer(state))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(work) for _ in range(4)]
        try:
            yield found
        finally:
            stop.set()
    for client in clients:
        client.result()


def test_swapped_and_rolled_back_under_load(originals, tmp_path):
    small_models.copy_version(originals[0], tmp_path, 1)
    (tmp_path / "not-a-version").mkdir()
    with running(model_base_path=str(tmp_path)) as state, load(state) as found:
        until(lambda: found == {1.5})
        small_models.copy_version(originals[1], tmp_path, "0010")
        until(lambda: answer(state) == 101.5)
        until(lambda: states(state) == {10: "AVAILABLE", 1: "END"})
        shutil.rmtree(tmp_path / "0010")
        until(lambda: answer(state) == 1.5)
        until(lambda: states(state) == {10: "END", 1: "AVAILABLE"})
        shutil.rmtree(tmp_path / "1")  # nothing is left: what answers goes on
        time.sleep(0.5)
        assert answer(state) == 1.5
    assert found == {1.5, 101.5}  # no request was dropped


def test_half_written_and_corrupt(originals, tmp_path, capfd):
    small_models.copy_version(originals[0], tmp_path, 1)
    with running(model_base_path=str(tmp_path)) as state, load(state) as found:
        (tmp_path / "2").mkdir()
        until(lambda: states(state).get(2) == "END")
        shutil.copytree(originals[1] / "variables", tmp_path / "2" / "variables")
        graph = (originals[1] / "saved_model.pb").read_bytes()
        (tmp_path / "2" / "saved_model.pb").write_bytes(graph[:500])
        time.sleep(0.5)
        assert states(state) == {2: "END", 1: "AVAILABLE"}
        (tmp_path / "2" / "saved_model.pb").write_bytes(graph)  # at last it is whole
        until(lambda: answer(state) == 101.5)
        corrupt = small_models.copy_version(originals[0], tmp_path / "hidden", 3)
        data = corrupt / "variables" / "variables.data-00000-of-00001"
        data.write_bytes(data.read_bytes()[:2])
        corrupt.rename(tmp_path / "3")
        until(lambda: states(state).get(3) == "END")
        assert answer(state) == 101.5
        shutil.rmtree(tmp_path / "3")
    assert found == {1.5, 101.5}
    assert capfd.readouterr().err.count("peterrec 3 cannot be loaded and is tried") == 1


def test_a_failing_warmup_fails_the_version(originals, tmp_path):
    small_models.copy_version(originals[0], tmp_path, 1)
    bad = small_models.copy_version(originals[1], tmp_path / "hidden", 2)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "no-such-signature"
    (bad / WARMUP).parent.mkdir()
    with tf.io.TFRecordWriter(str(bad / WARMUP)) as writer:
        writer.write(log.SerializeToString())
    with running(model_base_path=str(tmp_path)) as state:
        bad.rename(tmp_path / "2")
        until(lambda: states(state).get(2) == "END")
        assert answer(state) == 1.5


def test_at_start_every_version_must_load(originals, tmp_path):
    with pytest.raises(InputError, match="no version"):
        with running(model_base_path=str(tmp_path / "nowhere")):
            pass
    with pytest.raises(InputError, match="no version"):  # nobody looks again
        with running(model_base_path=str(tmp_path), poll_seconds=0):
            pass
    small_models.copy_version(originals[0], tmp_path, 1)
    graph = saved_model_pb2.SavedModel.FromString((tmp_path / "1" / "saved_model.pb").read_bytes())
    graph.meta_graphs[0].signature_def["serving_default"].outputs["y"].name = "no_such_tensor:0"
    (tmp_path / "1" / "saved_model.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(InputError, match="should hold versions that can be loaded"):
        with running(model_base_path=str(tmp_path)):
            pass


class FakeVersion:
    """A version without TensorFlow; a file `bad` in its folder makes it fail."""

    closed = []

    def __init__(self, path, number, name):
        self.number = number
        if (path / "bad").exists():
            raise RuntimeError("bad")

    def when_idle(self, call):
        call()

    def close(self):
        self.closed.append(self.number)


def follow(config, *steps, load=FakeVersion):
    """Numbers that answer after each step."""

    async def work():
        model, seen = ModelVersions(config, load, lambda _: None), []
        with ThreadPoolExecutor(1) as pool:
            for step in steps:
                step()
                await model.refresh(pool)
                seen.append(model.available)
        return seen

    return asyncio.run(work())


def test_a_version_that_changes_while_it_is_loaded_does_not_answer(tmp_path):
    """A copy that goes on while it is loaded: half a vocabulary loads as well as a whole one."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "vocabulary.txt").write_text("a")
    loads = []

    class Copied(FakeVersion):
        def __init__(self, path, number, name):
            super().__init__(path, number, name)
            loads.append((path / "vocabulary.txt").read_text())
            if len(loads) == 1:
                (path / "vocabulary.txt").write_text("a\nb\n")

    config, idle = ModelConfig("m", str(tmp_path)), lambda: None
    FakeVersion.closed.clear()
    assert follow(config, idle, idle, idle, load=Copied) == [[], [1], [1]]
    assert loads == ["a", "a\nb\n"] and FakeVersion.closed == [1]


def test_policies(tmp_path):
    def add(*numbers):
        return lambda: [(tmp_path / str(n)).mkdir() for n in numbers]

    def drop(number):
        return lambda: shutil.rmtree(tmp_path / str(number))

    def fail(number):
        return lambda: [add(number)(), (tmp_path / str(number) / "bad").touch()]

    config = ModelConfig("m", str(tmp_path))
    assert follow(config, add(1, 2), fail(3), drop(2), drop(3), drop(1)) == [
        [2],
        [2],
        [1],  # the newest that loads
        [1],
        [1],
    ]
    add(1, 2, 3, 4)()
    assert follow(ModelConfig("m", str(tmp_path), "latest", 2), lambda: None) == [[3, 4]]
    assert follow(ModelConfig("m", str(tmp_path), "all"), lambda: None) == [[1, 2, 3, 4]]
    specific = ModelConfig("m", str(tmp_path), "specific", versions=(1, 9))
    assert follow(specific, lambda: None, add(9), drop(1)) == [[1], [1, 9], [9]]


@pytest.mark.parametrize(
    "text, error",
    [
        ("", "should list models"),
        ("nonsense {", "should be a file with a model_config_list"),
        ("model_config_list { config { name: 'a' base_path: 'b' } }", "should be absolute"),
        ("model_config_list { config { base_path: '/b' } }", "should be a name"),
        (
            "model_config_list { config { name: 'a' base_path: '/b' model_platform: 'x' } }",
            "should be 'tensorflow'",
        ),
        (
            "model_config_list { config { name: 'a' base_path: '/b' } "
            "config { name: 'a' base_path: '/b' } }",
            "once",
        ),
    ],
)
def test_config_files_that_cannot_be_used(text, error, tmp_path):
    path = tmp_path / "models.config"
    with pytest.raises(InputError, match="should be a file"):
        read_config_file(path)
    path.write_text(text)
    with pytest.raises(InputError, match=error):
        read_config_file(path)


def test_configured_versions_and_labels_must_be_there(originals, tmp_path):
    small_models.copy_version(originals[0], tmp_path / "base", 1)
    path = tmp_path / "models.config"
    text = "model_config_list {{ config {{ name: 'm' base_path: '{}' {} }} }}"
    for more, error in [
        ("model_version_policy { specific { versions: 1 versions: 5 } }", "no version 5"),
        ("version_labels { key: 'stable' value: 5 }", "assign label to version 5 of model m"),
    ]:
        path.write_text(text.format(tmp_path / "base", more))
        with pytest.raises(InputError, match=error):
            with running(model_config_file=str(path)):
                pass


def test_a_config_file_that_changes(originals, tmp_path):
    for n in (0, 1):
        small_models.copy_version(originals[n], tmp_path / f"base{n}", 1)
    path = tmp_path / "models.config"
    text = "model_config_list {{ config {{ name: 'peterrec' base_path: '{}' }} }}"
    path.write_text(text.format(tmp_path / "base0"))
    graph = tmp_path / "base1" / "1" / "saved_model.pb"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:500])
    with running(model_config_file=str(path), config_poll_seconds=0.1) as state:
        with load(state) as found:
            until(lambda: found == {1.5})
            path.write_text("half of a fi")
            time.sleep(0.3)
            path.write_text(text.format(tmp_path / "base1"))
            time.sleep(0.3)
            assert found == {1.5}  # it cannot be loaded
            graph.write_bytes(whole)
            until(lambda: answer(state) == 101.5)
        assert found == {1.5, 101.5}


def test_a_version_that_failed_is_tried_again_with_growing_pauses(tmp_path, monkeypatch):
    """A disk or memory may come back, and no file of the version changes by that."""
    (tmp_path / "1").mkdir()
    now, loads, told = [0.0], [], []
    monkeypatch.setattr(model_versions.time, "monotonic", lambda: now[0])

    class Later(FakeVersion):
        def __init__(self, path, number, name):
            super().__init__(path, number, name)
            loads.append(now[0])
            if now[0] < 14:
                raise OSError("Input/output error")

    async def work():
        model = ModelVersions(ModelConfig("m", str(tmp_path)), Later, told.append)
        with ThreadPoolExecutor(1) as pool:
            for second in range(20):
                now[0] = second
                await model.refresh(pool)
            return model.available

    assert asyncio.run(work()) == [1]
    assert loads == [0, 2, 6, 14]
    assert [line.split(":")[0] for line in told] == [
        "m 1 cannot be loaded and is tried again later",  # once, since nothing new is to be told
        "m 1 answers",
    ]


def test_a_restart_beside_a_damaged_newest_version(originals, tmp_path, capfd):
    """A running server would go on with the old one as well."""
    small_models.copy_version(originals[0], tmp_path, 1)
    small_models.copy_version(originals[1], tmp_path, 2)
    graph = tmp_path / "2" / "saved_model.pb"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:500])
    with running(model_base_path=str(tmp_path)) as state:
        assert answer(state) == 1.5
        assert states(state) == {2: "END", 1: "AVAILABLE"}
        assert "peterrec 2 cannot be loaded" in capfd.readouterr().err
        graph.write_bytes(whole)
        until(lambda: answer(state) == 101.5)


def test_an_empty_folder_is_waited_for(originals, tmp_path, capfd):
    """As TensorFlow Serving does: the port is closed until there is a version."""

    def publish():
        time.sleep(0.5)
        small_models.copy_version(originals[0], tmp_path, 1)

    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(publish)
        with running(model_base_path=str(tmp_path)) as state:
            later.result()
            assert answer(state) == 1.5
    assert capfd.readouterr().err.count("waits for the first version of peterrec") == 1
