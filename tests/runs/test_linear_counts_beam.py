"""Pairs of items counted on Apache Beam, as in this process. Needs the extra `beam`."""

import importlib.util
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from commands import run_here
from prepared_samples import prepared, sample_columns

from keras_peterrec.errors import InputError
from keras_peterrec.linear import item_regression, sparse_regression
from keras_peterrec.linear.bag import Bag
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.runs import host_linear, pretrain, pretraining_log
from keras_peterrec.runs.host_linear import sparse_regression_of
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.transfer.host import Host

has_beam = importlib.util.find_spec("apache_beam") is not None
if has_beam:
    from keras_peterrec.runs.linear_counts_beam import count_on_beam
needs_beam = pytest.mark.skipif(not has_beam, reason="Apache Beam is not installed")
PROCESSES = "--direct_running_mode=multi_processing --direct_num_workers=2"
SMALL = {"hidden_dim": 8, "blocks": 1, "max_length": 20, "baselines": False, "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared log, some of whose shards have no user."""
    path = tmp_path_factory.mktemp("counts") / "clicks"
    found, _ = prepared(path, sample_columns(users=60), shards=40)
    assert not all(found.events_of(shard) for shard in range(40))
    return path


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """The log counts as one of many items that is larger than what is read at once."""
    for module in (item_regression, host_linear):
        monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    monkeypatch.setattr(host_linear, "CHOOSING_ROWS", 400)
    monkeypatch.setattr(pretraining_log, "CHUNK_EVENTS", 1_000)
    monkeypatch.setattr(pretraining_log, "MEASURED_USERS", 25)


def counted(log, bag, options=None):
    before = os.listdir(Path(log.prepared.path).parent)
    found = count_on_beam(log, bag, "DirectRunner", options)
    assert os.listdir(Path(log.prepared.path).parent) == before
    return found


def assert_same(ours, theirs):
    for name in ("half_gram", "right"):
        ours_sums, theirs_sums = (getattr(r, name).matrix() for r in (ours, theirs))
        assert theirs_sums.nnz > 100
        np.testing.assert_allclose(ours_sums.toarray(), theirs_sums.toarray(), rtol=1e-4)
    tables = [regression.solve(20.0).table.toarray() for regression in (ours, theirs)]
    np.testing.assert_allclose(*tables, atol=1e-5)


@needs_beam
@pytest.mark.parametrize(
    ("split", "min_count", "fade"), [("last", 1, 4.0), ("last", 20, None), ("time:30", 2, 4.0)]
)
def test_the_regression_is_that_of_this_process(folder, monkeypatch, split, min_count, fade):
    monkeypatch.setattr(sparse_regression, "MOST_ITEMS", 40)
    log = PretrainingLog.of(PreparedLog(folder), min_count, split)
    assert_same(counted(log, Bag(fade)), sparse_regression_of(log, Bag(fade)))
    everything = PretrainingLog.of_all(PreparedLog(folder), min_count)
    if split == "last":
        assert_same(counted(everything, Bag(fade)), sparse_regression_of(everything, Bag(fade)))


@needs_beam
def test_no_worker_and_no_sum_holds_more_than_it_may(folder, monkeypatch):
    log = PretrainingLog.of(PreparedLog(folder), 1)
    whole = sparse_regression_of(log, Bag()).right.matrix().toarray()
    monkeypatch.setattr(sparse_regression, "MOST_PAIRS", 200)
    monkeypatch.setattr(sparse_regression, "ADDED_PAIRS", 20_000)
    found = counted(log, Bag()).right.matrix()
    assert found.nnz == 200
    found, largest = found.toarray(), np.argsort(whole, axis=None)[-50:]
    assert (found <= whole * 1.00001).all()
    np.testing.assert_allclose(found.ravel()[largest], whole.ravel()[largest], rtol=0.05)


@needs_beam
def test_the_log_may_be_remote(folder):
    import tensorflow as tf

    here = PretrainingLog.of(PreparedLog(folder), 1)
    remote = "ram://counts/clicks"  # a file system that every TensorFlow has, as it has gs://
    tf.io.gfile.makedirs(remote)
    for file in folder.iterdir():
        tf.io.gfile.copy(str(file), f"{remote}/{file.name}")
    found = count_on_beam(PretrainingLog.of(PreparedLog(remote), 1), Bag(4.0), "DirectRunner", None)
    assert_same(found, sparse_regression_of(here, Bag(4.0)))
    assert tf.io.gfile.listdir("ram://counts") == ["clicks"]


@needs_beam
@pytest.mark.slow
def test_several_processes_count_the_same(folder):
    log = PretrainingLog.of(PreparedLog(folder), 2, "time:30")
    assert_same(counted(log, Bag(4.0), PROCESSES), sparse_regression_of(log, Bag(4.0)))


@needs_beam
def test_pretrain_counts_on_a_runner(folder, tmp_path, capsys):
    for name, asked in {"here": {}, "beam": {"runner": "DirectRunner"}}.items():
        pretrain.pretrain(folder, tmp_path / name, final=True, **asked, **SMALL)
    said = capsys.readouterr().err
    # A slow machine says in between how far it is.
    done = r"counting pairs of items in 40 shards on DirectRunner \.\.\. [0-9]+\.[0-9] s"
    assert len(re.findall(done, said)) == 2
    found = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("here", "beam")]
    assert found[0]["linear"] == pytest.approx(found[1]["linear"]) and found[0]["linear"]["weight"]
    assert found[0]["settings"] == found[1]["settings"]
    tables = [Host.load(tmp_path / n).pretrainer.linear.part().table for n in ("here", "beam")]
    np.testing.assert_allclose(tables[0].toarray(), tables[1].toarray(), rtol=1e-3, atol=1e-4)


@needs_beam
def test_a_damaged_shard_is_one_clear_line(tmp_path):
    log = PretrainingLog.of(prepared(tmp_path / "clicks", shards=4)[0], 1)
    shard = tmp_path / "clicks" / "peterrec_log-users.tfrecord-00003-of-00004"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match="`log` should be a prepared log that is whole") as caught:
        counted(log, Bag())
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == ["clicks"]


@needs_beam
def test_a_place_that_cannot_be_written_is_one_clear_line(folder, monkeypatch):
    log = PretrainingLog.of(PreparedLog(folder), 1)
    log.prepared.path = "/proc/clicks"
    with pytest.raises(InputError, match="`log` should be in a place that can be written"):
        counted(log, Bag())


@needs_beam
@pytest.mark.parametrize("few", ["items", "events"])
def test_a_small_log_leaves_nothing_to_count(folder, tmp_path, monkeypatch, capsys, few):
    if few == "events":
        monkeypatch.setattr(pretraining_log, "CHUNK_EVENTS", 4_000)
    else:
        for module in (item_regression, host_linear):
            monkeypatch.setattr(module, "EXACT_UP_TO", 60)
    pretrain.pretrain(folder, tmp_path / "host", runner="DirectRunner", final=True, **SMALL)
    said = capsys.readouterr().err
    assert said.count("nothing is left to count for DirectRunner") == 1
    assert "counting pairs" not in said


MISTAKES = {
    "`log` should be a folder of `prepare` where a `runner` counts": ["--runner", "DirectRunner"],
    "`pipeline_options` should be left out without `runner`": ["--pipeline-options=--x"],
    "`runner` should be left out where there is no linear part": [
        *("--runner", "DirectRunner", "--no-linear", "--no-baselines")
    ],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_one_clear_line(tmp_path, message):
    words = ["--log", "simulated/source", "--out", tmp_path / "host"]
    done = run_here("pretrain", *words, *MISTAKES[message])
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@needs_beam
def test_an_unknown_runner_is_told_before_training(folder, tmp_path):
    with pytest.raises(InputError, match="`runner` and `pipeline_options` should be ones"):
        pretrain.pretrain(folder, tmp_path / "host", runner="NoRunner", **SMALL)
    assert not (tmp_path / "host").exists()


@pytest.mark.skipif(has_beam, reason="Apache Beam is installed")
def test_without_beam_it_says_what_to_install(folder, tmp_path):
    with pytest.raises(InputError, match=r"`runner` needs Apache Beam: pip install"):
        pretrain.pretrain(folder, tmp_path / "host", runner="DirectRunner", **SMALL)
