"""Preparing on Apache Beam: the files of the other way, byte for byte. Needs the extra `beam`."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from prepared_samples import contents, sample_columns, write_files

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.format import read_bytes
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.sources import load_log
from keras_peterrec.runs.prepare import prepare

has_beam = importlib.util.find_spec("apache_beam") is not None
needs_beam = pytest.mark.skipif(not has_beam, reason="Apache Beam is not installed")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The pattern of a log, and the files that this process makes of it."""
    folder = tmp_path_factory.mktemp("beam")
    pattern = write_files(folder / "log", sample_columns())
    prepare(pattern, folder / "here", shards=3, min_count=2)
    return pattern, contents(folder / "here")


def prepared_by(both, out, runner, options=None):
    pattern, wanted = both
    prepare(pattern, out, shards=3, min_count=2, runner=runner, pipeline_options=options)
    assert contents(out) == wanted
    assert not out.with_name(f"{out.name}.preparing").exists()


@needs_beam
def test_the_files_are_the_same(both, tmp_path):
    prepared_by(both, tmp_path / "out", "DirectRunner")


@needs_beam
def test_a_log_given_as_an_object_is_prepared_too(tmp_path):
    log = Events.from_columns(*sample_columns(), weights=[n % 3 for n in range(3_000)])
    for name, options in {"here": {}, "beam": {"runner": "DirectRunner"}}.items():
        prepare(log, tmp_path / name, shards=40, **options)
    assert contents(tmp_path / "here") == contents(tmp_path / "beam")


@needs_beam
def test_a_bad_log_is_one_clear_line(tmp_path):
    (tmp_path / "1.csv").write_text("user_id,item_id,timestamp\na,b,soon\n")
    with pytest.raises(
        InputError, match="`timestamp` should be .* in every row of .*1.csv"
    ) as caught:
        prepare(str(tmp_path / "1.csv"), tmp_path / "out", runner="DirectRunner")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@needs_beam
def test_the_log_and_the_folder_may_be_remote(both, tmp_path):
    import tensorflow as tf

    memory = fsspec.filesystem("memory")
    for path in Path(both[0]).parent.iterdir():
        memory.pipe(f"/log/{path.name}", path.read_bytes())
    out = "ram://prepared"  # a file system that every TensorFlow has, as it has gs://
    prepare("memory://log/*", out, shards=3, min_count=2, runner="DirectRunner")
    assert not tf.io.gfile.exists("ram://prepared/written")
    found = {name: read_bytes(out, name) for name in both[1]}
    ours, wanted = json.loads(found.pop("prepared.json")), json.loads(both[1]["prepared.json"])
    assert found == {name: both[1][name] for name in found}
    assert ours["inputs"][0]["path"] == "memory:///log/1.csv"
    differ = {"inputs": None, "sha256": None}  # of prepared.json itself
    assert {**ours, **differ} == {**wanted, **differ}
    assert len(load_log(out).user_ids) == PreparedLog(out).user_count


@needs_beam
@pytest.mark.slow
def test_several_processes_make_the_same_files(both, tmp_path):
    options = "--direct_running_mode=multi_processing --direct_num_workers=2"
    prepared_by(both, tmp_path / "out", "DirectRunner", options)


@needs_beam
@pytest.mark.slow
def test_a_job_server_over_grpc_makes_the_same_files(both, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    server = subprocess.Popen(
        [sys.executable, "-m", module, f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        options = f"--job_endpoint=127.0.0.1:{port} --environment_type=LOOPBACK"
        prepared_by(both, tmp_path / "out", "PortableRunner", options)
    finally:
        server.kill()
        server.wait()


def _wait_for(port, server):
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the job server did not start")


@needs_beam
@pytest.mark.parametrize(
    ("runner", "options", "reason"),
    [
        ("NoRunner", None, "Unexpected pipeline runner: NoRunner"),
        ("DirectRunner", "--direct_num_workers=x", "--direct_num_workers: invalid int value: 'x'"),
        ("DirectRunner", "--temp_location='a", "No closing quotation"),
    ],
)
def test_a_runner_that_beam_does_not_know_is_one_clear_line(tmp_path, runner, options, reason):
    log = Events.from_columns(*sample_columns())
    with pytest.raises(InputError, match="`runner` and `pipeline_options` should be") as caught:
        prepare(log, tmp_path / "out", runner=runner, pipeline_options=options)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(has_beam, reason="Apache Beam is installed")
def test_without_beam_it_says_what_to_install(tmp_path):
    log = Events.from_columns(*sample_columns())
    with pytest.raises(InputError, match=r"`runner` needs Apache Beam: pip install"):
        prepare(log, tmp_path / "out", runner="DirectRunner")


def test_a_place_that_tensorflow_cannot_write_is_refused(tmp_path, monkeypatch):
    """Before anything runs, so Beam need not be there."""
    monkeypatch.setattr("keras_peterrec.log.prepared.beam.import_beam", lambda runner: None)
    pattern = write_files(tmp_path / "log", sample_columns())
    with pytest.raises(InputError, match="`out` should be .* writes, such as gs://.* 's3://shop/"):
        prepare(pattern, "s3://shop/log", shards=3, runner="DirectRunner")
