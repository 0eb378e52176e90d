"""The command `prepare`, and pretraining from what it wrote."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import tensorflow as tf
from commands import run_here
from prepared_samples import sample_columns, write_files
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.files.history_file import read_history
from keras_peterrec.linear import item_regression
from keras_peterrec.linear.bag import Bag
from keras_peterrec.log.event_split import VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.runs import host_linear, pretraining_log
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.prepare import prepare
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.host import Host

SMALL = {"hidden_dim": 8, "blocks": 1, "max_length": 20, "dropout": 0.1, "baselines": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("prepare")
    pattern = write_files(path / "log", sample_columns())
    done = run_here("prepare", "--log", pattern, "--out", path / "out", "--shards", 4, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["events"] == 3_000
    return path


def test_it_says_what_it_prepared_and_does_nothing_twice(folder):
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").iterdir()}
    again = ["prepare", "--log", folder / "log/[123].*", "--out", folder / "out", "--shards", 4]
    done = run_here(*again)
    assert done.returncode == 0 and "already prepared" in done.stderr
    assert "events                                   3,000" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").iterdir()} == before


def test_a_split_may_be_counted_when_it_is_prepared_or_later(folder, tmp_path):
    log = Events.from_columns(*sample_columns())
    prepare(log, tmp_path / "out", shards=2)
    assert not list((tmp_path / "out").glob("split-*"))
    prepare(log, tmp_path / "out", shards=2, split="time:30")
    assert (tmp_path / "out" / "split-30.npz").is_file()
    with pytest.raises(InputError, match="`split` should leave events"):
        prepare(log, tmp_path / "out", shards=2, split="time:0")


def test_inspect_describes_it(folder):
    done = run_here("inspect", folder / "out", "--json")
    found = json.loads(done.stdout)
    assert found["kind"] == "prepared log" and found["prepared"]["users"] == 120
    assert found["files"]["vocabulary.txt"] > 0


def same_run(ours, theirs):
    """Whether two runs found the same: their metrics, and every bit of what they trained."""
    told = [json.loads((run / "metrics.json").read_text()) for run in (ours, theirs)]
    for name in ("metrics", "baseline", "baselines", "intervals", "linear", "parameters"):
        assert told[0].get(name) == told[1].get(name), name
    for found in told:
        del found["data"]["fingerprint"]  # of other logs and hosts
    assert told[0]["data"] == told[1]["data"]
    files = sorted(path.relative_to(ours) for path in ours.rglob("*.npz"))
    assert files == sorted(path.relative_to(theirs) for path in theirs.rglob("*.npz"))
    for file in files:
        arrays = [np.load(run / file, allow_pickle=False) for run in (ours, theirs)]
        assert arrays[0].files == arrays[1].files
        for name in arrays[0].files:
            pair = [found[name] for found in arrays]
            assert pair[0].dtype == pair[1].dtype and pair[0].tobytes() == pair[1].tobytes(), name


@pytest.mark.parametrize("method", ["head", *slow("patch")])
def test_the_main_job_is_the_same_bit_by_bit_on_a_log_in_memory_and_prepared(
    method, folder, tmp_path
):
    log = Events.from_columns(*sample_columns())
    users = [f"u{n}" for n in range(0, 130, 2)]  # some are in no log
    items, times = [f"t{n % 5}" for n in range(len(users))], [30, 32, 34, 36, 38] * 13
    target = Events.from_columns(users, items, times)
    labels = Labels.from_columns(users, [f"k{n % 2}" for n in range(len(users))], "kind")
    for name, place in (("memory", log), ("prepared", folder / "out")):
        out = tmp_path / name
        pretrain(place, out / "host", epochs=1, min_count=2, **SMALL | {"baselines": True})
        transfer(out / "host", place, out / "films", target=target, epochs=1, method=method)
        asked = {"labels": labels, "column": "kind", "method": "head"}
        transfer(out / "host", place, out / "kind", epochs=1, **asked)
    for run in ("host", "films", "kind"):
        same_run(tmp_path / "prepared" / run, tmp_path / "memory" / run)
    again = [evaluate(tmp_path / "memory" / "host", log=place) for place in (log, folder / "out")]
    assert again[0]["metrics"] == again[1]["metrics"]


@pytest.mark.slow  # as that test sees of the usual split
@pytest.mark.parametrize(
    "asked",
    [
        {"split": "time:30", "min_count": 2},
        {"final": True},
        {"split": "time:30", "final": True, "min_count": 2},
    ],
    ids=["by time", "final", "final by time"],
)
def test_a_prepared_log_pretrains_the_same_host(folder, tmp_path, asked):
    log = Events.from_columns(*sample_columns())
    memory = pretrain(log, tmp_path / "memory", epochs=1, **asked, **SMALL)
    ours = pretrain(folder / "out", tmp_path / "ours", epochs=1, **asked, **SMALL)
    assert ours["metrics"] == memory["metrics"] and ours["linear"] == memory["linear"]
    names = ("users", "items", "events", "items_only_held_out")
    assert [ours["data"][n] for n in names] == [memory["data"][n] for n in names]
    if "final" in asked:
        assert ours["final"]["events"] == memory["final"]["events"] == 3_000
    hosts = [Host.load(tmp_path / name) for name in ("ours", "memory")]
    assert hosts[0].fingerprint() == hosts[1].fingerprint()
    if "split" in asked:
        again = [evaluate(tmp_path / "ours", log=place) for place in (folder / "out", log)]
        assert again[0]["metrics"] == again[1]["metrics"]


def test_a_moment_without_events_on_both_sides_is_refused(folder, tmp_path):
    for moment in (0, 60):
        with pytest.raises(InputError, match="on both sides of its moment. Received: 'time:"):
            pretrain(folder / "out", tmp_path / "host", split=f"time:{moment}", **SMALL)
    assert not (tmp_path / "host").exists()


@pytest.mark.slow
def test_weights_are_prepared_too(tmp_path):
    columns = [*map(list, sample_columns(events=600, users=30))]
    table = dict(zip(("user_id", "item_id", "timestamp"), columns))
    table["worth"] = [0.1 * (n % 7) for n in range(600)]
    pa.csv.write_csv(pa.table(table), tmp_path / "log.csv")
    asked = {"weight_column": "worth"}
    prepare(str(tmp_path / "log.csv"), tmp_path / "out", shards=3, **asked)
    settings = {**SMALL, "epochs": 1, "linear": False}
    pretrain(str(tmp_path / "log.csv"), tmp_path / "memory", **asked, **settings)
    pretrain(tmp_path / "out", tmp_path / "ours", **settings)
    ours, memory = (Host.load(tmp_path / name).fingerprint() for name in ("ours", "memory"))
    assert ours == memory


@pytest.mark.slow
def test_a_log_larger_than_a_chunk_streams_says_so_and_goes_on(
    folder, tmp_path, interrupted, monkeypatch, capsys
):
    monkeypatch.setattr(pretraining_log, "CHUNK_EVENTS", 1_000)
    monkeypatch.setattr(pretraining_log, "MEASURED_USERS", 25)
    # A pass takes some 15 steps in four chunks; so epochs end within chunks and passes.
    options = {"epochs": 4, "steps_per_epoch": 7, "batch_size": 10, "linear": False, **SMALL}
    with interrupted(epoch=1):
        pretrain(folder / "out", tmp_path / "host", **options)
    said = capsys.readouterr().err
    assert "training streams all 120 users; 25 of them validate and test" in said
    result = pretrain(folder / "out", tmp_path / "host", **options)
    straight = pretrain(folder / "out", tmp_path / "straight", **options)
    assert result["data"]["users_measured"] == 25
    losses = [read_history(tmp_path / name)["loss"] for name in ("host", "straight")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and len(losses[0]) == 4
    assert result["metrics"]["test"] == pytest.approx(straight["metrics"]["test"], abs=1e-6)


@pytest.mark.slow
def test_many_items_have_a_linear_part_out_of_all_shards(folder, tmp_path, monkeypatch):
    for module in (item_regression, host_linear):
        monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    monkeypatch.setattr(host_linear, "CHOOSING_ROWS", 400)
    log = Events.from_columns(*sample_columns())
    memory = pretraining_log.PretrainingLog.of(log, 1)
    of_memory = host_linear.sparse_regression_of(memory, Bag(4.0)).solve(20.0)
    monkeypatch.setattr(pretraining_log, "CHUNK_EVENTS", 1_000)
    monkeypatch.setattr(pretraining_log, "MEASURED_USERS", 25)
    streamed = pretraining_log.PretrainingLog.of(PreparedLog(folder / "out"), 1)
    assert len([*streamed.training_parts()]) == 2
    ours = host_linear.sparse_regression_of(streamed, Bag(4.0)).solve(20.0)
    np.testing.assert_allclose(ours.table.toarray(), of_memory.table.toarray(), atol=1e-4)
    evaluation = NextItemEvaluation(streamed.sequences, 20, VALIDATION, 25)
    found = evaluation.linear_gains(ours, "ndcg@10").mean()
    assert found == pytest.approx(evaluation.measure_linear(ours)["ndcg@10"])
    result = pretrain(folder / "out", tmp_path / "host", epochs=1, final=True, **SMALL)
    host = Host.load(tmp_path / "host")
    assert host.pretrainer.linear.entries > 0 and result["linear"]["weight"] > 0
    assert host_linear.fit_ease(memory.sequences, evaluation, 11) is None  # more than 10 items


def test_measured_users_are_fewer_where_items_are_many(folder, monkeypatch):
    monkeypatch.setattr(pretraining_log, "CHUNK_EVENTS", 1_000)
    monkeypatch.setattr(pretraining_log, "LEAST_MEASURED", 5)
    monkeypatch.setattr(pretraining_log, "MEASURED_SCORES", 640)
    log = pretraining_log.PretrainingLog.of(PreparedLog(folder / "out"), 1)
    assert log.most_measured == log.most_validated == 640 // len(log.vocabulary.items)


def test_a_shard_that_is_damaged_in_the_middle_ends_training_with_one_line(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(pretraining_log, "CHUNK_EVENTS", 1_000)
    monkeypatch.setattr(pretraining_log, "MEASURED_USERS", 25)
    shutil.copytree(folder / "out", tmp_path / "out")
    shard = tmp_path / "out" / "peterrec_log-users.tfrecord-00003-of-00004"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    options = {"epochs": 1, "linear": False, **SMALL}
    with pytest.raises(InputError, match="`log` should be a prepared log that is whole"):
        pretrain(tmp_path / "out", tmp_path / "host", **options)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    path = tmp_path_factory.mktemp("host") / "host"
    pretrain(Events.from_columns(*sample_columns()), path, epochs=1, linear=False, **SMALL)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["target", "labels"])
def test_tasks_split_by_time_read_it(folder, host, tmp_path, kind):
    log = Events.from_columns(*sample_columns())
    users = [f"u{n}" for n in range(0, 130, 2)]  # some are in no log
    if kind == "target":
        items, times = [f"t{n % 5}" for n in range(len(users))], [30, 32, 34, 36, 38] * 13
        task = {"target": Events.from_columns(users, items, times)}
    else:
        names = [f"k{n % 2}" for n in range(len(users))]
        task = {"labels": Labels.from_columns(users, names, "kind"), "column": "kind"}
    common = {"epochs": 1, "method": "head", "split": "time:35", "final": True, **task}
    found = [
        transfer(host, place, tmp_path / name, **common)
        for name, place in (("ours", folder / "out"), ("memory", log))
    ]
    assert found[0]["metrics"] == found[1]["metrics"]
    assert found[0]["baselines"] == found[1]["baselines"]


def test_an_epoch_of_a_very_large_log_is_shorter_than_a_pass(folder, monkeypatch, capsys):
    monkeypatch.setattr(pretraining_log, "CHUNK_EVENTS", 1_000)
    monkeypatch.setattr(pretraining_log, "MEASURED_USERS", 25)
    monkeypatch.setattr(pretraining_log, "STEPS", 50)
    log = pretraining_log.PretrainingLog.of(PreparedLog(folder / "out"), 1)
    batches = tf.data.Dataset.range(80)
    assert log.steps_of_epoch(batches, None) == 50
    assert "an epoch is 50 of the 80 steps" in capsys.readouterr().err
    assert log.steps_of_epoch(batches, 70) == 70


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--log", "none/*.csv", "--out", "x"], "`path` should match files"),
        (["--log", "simulated/source", "--out", "x", "--shards", "0"], "`shards` should be a"),
        (["--log", "simulated/source", "--out", "gs://x/y"], "`out` should be a folder of this"),
        (
            ["--log", "simulated/source", "--out", "x", "--pipeline-options=-a"],
            "`pipeline_options` should be left out without `runner`",
        ),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = run_here("prepare", *words)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_what_preparing_has_decided_cannot_be_asked_of_a_prepared_log(folder, tmp_path):
    for name, value in (("events", "buy"), ("weight_column", "weight")):
        with pytest.raises(InputError, match=f"`{name}` should be left out"):
            pretrain(folder / "out", tmp_path / "host", **{name: value}, **SMALL)


def test_another_log_in_the_folder_is_refused(folder):
    with pytest.raises(InputError, match="`out` should be a new folder or that of the same log"):
        prepare("simulated/source", folder / "out")
