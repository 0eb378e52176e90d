"""Preparing in this process: what it writes, that it goes on, and what it refuses."""

import json
import os
import signal
import subprocess
import sys

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from prepared_samples import contents, prepared, sample_columns, write_files

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared import beam, in_process, partition, shards
from keras_peterrec.log.prepared.beam import prepare_on_beam
from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.format import (
    FIELDS,
    is_prepared,
    read_manifest,
    user_hashes,
    work_beside,
)
from keras_peterrec.log.prepared.in_process import check_out, prepare_in_process
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.read_log import Reading
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.splits import count_split
from keras_peterrec.log.vocabulary import counted_vocabulary
from keras_peterrec.runs.prepare import prepare
from keras_peterrec.runs.pretraining_log import encode_log


def same_histories(found, wanted):
    """Whether two Events hold the same, in the same order."""
    assert found.fingerprint() == wanted.fingerprint()
    (a, vocabulary, counts), (b, same, same_counts) = (encode_log(log) for log in (found, wanted))
    assert vocabulary.items.tolist() == same.items.tolist()
    assert counts.tolist() == same_counts.tolist()
    for name in ("user_ids", "items", "timestamps", "offsets"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist(), name


@pytest.mark.parametrize("count", [1, 5])
def test_a_prepared_log_is_the_log(tmp_path, monkeypatch, count):
    columns = sample_columns()
    pattern = write_files(tmp_path / "log", columns)
    monkeypatch.setattr(
        in_process, "parted_events", lambda *a: partition.parted_events(*a, rows=400)
    )
    prepare_in_process(pattern, Plan.of(pattern, shards=count), tmp_path / "out")
    found = PreparedLog(tmp_path / "out")
    log = Events.from_columns(*columns)
    same_histories(found.log(), log)
    same_histories(load_log(tmp_path / "out"), log)
    assert (len(found), found.user_count) == (len(log), len(log.user_ids))
    _, vocabulary, counts = encode_log(log, 3)
    kept, kept_counts, _ = counted_vocabulary(found.item_ids, found.counts, 3)
    assert kept.items.tolist() == vocabulary.items.tolist()
    assert kept_counts.tolist() == counts.tolist()
    assert not (tmp_path / "out.preparing").exists()
    # Also with another vocabulary, and of some users.
    vocabulary = type(vocabulary)(["ï3", "other", "ï1"])
    ours = found.read(range(count)).encode(vocabulary)
    theirs = log.encode(vocabulary)
    assert ours.items.tolist() == theirs.items.tolist()
    some = ["u7", "nobody", "u3"]
    few = found.log(users=some)
    same_histories(few, log.select(np.isin(log.user_ids[log.users].astype(str), some)))


def test_fractions_of_seconds_stay_exact(tmp_path):
    users, items, times = sample_columns()
    found, log = prepared(tmp_path / "out", (users, items, times + 0.1), shards=3)
    assert found.log().timestamps.dtype == np.float64
    same_histories(found.log(), log)


def test_items_left_out_are_unknown(tmp_path):
    found, log = prepared(tmp_path / "out", shards=2, min_count=20)
    _, vocabulary, _ = encode_log(log, 20)
    sequences = found.read(range(2)).encode(found.items)
    assert sequences.items.tolist() == log.encode(vocabulary).items.tolist()
    assert set(found.log().item_ids) <= set(vocabulary.items)


def test_it_reads_what_a_log_in_memory_reads(tmp_path):
    users, items, times = sample_columns()
    times = 1_700_000_000 + times * 1_000  # many events have user, item and time of another
    table = pa.table({"who": users, "item_id": items, "timestamp": times})
    table = table.append_column("event_type", [["click", "buy"] * (len(table) // 2)])
    table = table.append_column("worth", [[n % 3 // 2 for n in range(len(table))]])
    first, second = table.slice(0, 1_500), table.slice(1_500)
    pa.csv.write_csv(first, tmp_path / "1.tsv", write_options=pa.csv.WriteOptions(delimiter="\t"))
    # The second file counts milliseconds.
    millis = pa.array(second["timestamp"].to_numpy() * 1_000)
    pa.parquet.write_table(second.set_column(2, "timestamp", millis), tmp_path / "2.parquet")
    options = {"columns": "user_id=who", "events": "buy", "weight_column": "worth"}
    pattern = str(tmp_path / "[12].*")
    wanted = load_log(pattern, **options)
    assert len(wanted) < 1_500  # duplicates are dropped
    prepare_in_process(
        pattern, Plan.of(pattern, shards=3, reading=Reading(**options)), tmp_path / "out"
    )
    found = PreparedLog(tmp_path / "out")
    same_histories(found.log(), wanted)
    weights = [log.encode(found.items).weights.tolist() for log in (found.log(), wanted)]
    assert weights[0] == weights[1]
    assert read_manifest(tmp_path / "out")["rows"] == 1_500


def test_clocks_that_cannot_be_told_apart_are_refused(tmp_path):
    for name, time in (("1.csv", 1_700_000_000), ("2.csv", 5)):
        (tmp_path / name).write_text(f"user_id,item_id,timestamp\na,b,{time}\nc,b,{time}\n")
    pattern = str(tmp_path / "*.csv")
    with pytest.raises(InputError, match="on one clock in all files. Received: seconds in .*1.csv"):
        prepare_in_process(pattern, Plan.of(pattern), tmp_path / "out")


def test_tensorflow_datasets_reads_it(tmp_path):
    import tensorflow_datasets as tfds

    found, log = prepared(tmp_path / "out", shards=2)
    builder = tfds.builder_from_directory(tmp_path / "out")
    assert builder.info.splits["users"].num_examples == found.user_count
    assert builder.info.features["items"].doc.desc == FIELDS["items"]
    sequences = log.encode(found.items)
    for user in tfds.as_numpy(builder.as_dataset("users").take(5)):
        [place] = sequences.index([user["user_id"].decode()])
        assert user["items"].tolist() == sequences[place].tolist()


def test_hashes_are_those_of_the_definition():
    ids = ["", "a", "u17", "ï", "x" * 40]
    for text, found in zip(ids, user_hashes(ids)):
        number = 0xCBF29CE484222325
        for byte in text.encode():
            number = (number ^ byte) * 0x100000001B3 % 2**64
        number = (number ^ (number >> 33)) * 0xFF51AFD7ED558CCD % 2**64
        assert int(found) == number ^ (number >> 33)


@pytest.mark.parametrize("collide", [False, True])
def test_ids_of_items_are_their_places_also_where_hashes_collide(monkeypatch, collide):
    if collide:
        monkeypatch.setattr(shards, "user_hashes", lambda ids: np.full(len(ids), 7, "uint64"))
    ids = shards.ItemIds(pa.array(["c", "a", "ï", "b"]))
    assert ids.of(pa.array(["b", "none", "a", "ï", "c"])).tolist() == [7, 1, 5, 6, 4]


def test_counts_are_added_up_in_any_portions(monkeypatch):
    draw = np.random.default_rng(0)
    tables = []
    for _ in range(9):
        items = draw.choice(30, 12, replace=False)
        tables.append(
            pa.table(
                {
                    "item_id": pa.array(map(str, items), pa.string()),
                    "events": draw.integers(1, 9, 12),
                    "training_events": draw.integers(0, 3, 12),
                }
            )
        )
    found = [shards.add_counts(tables)]
    monkeypatch.setattr(shards, "COUNTED_ROWS", 10)
    found.append(shards.add_counts(iter(tables)))
    a, b = (table.sort_by("item_id").to_pydict() for table in found)
    assert a == b and sum(a["events"]) == sum(sum(t["events"].to_pylist()) for t in tables)


@pytest.mark.parametrize("stage", ["parted_events", "sorted_users", "add_counts", "write_records"])
def test_an_interrupted_one_goes_on_to_the_same_bytes(tmp_path, monkeypatch, stage):
    pattern = write_files(tmp_path / "log", sample_columns())
    plan = Plan.of(pattern, shards=4)
    prepare_in_process(pattern, plan, tmp_path / "straight")
    original, calls = getattr(in_process, stage), []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 2 or stage == "add_counts":
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(in_process, stage, dies)
    with pytest.raises(KeyboardInterrupt):
        prepare_in_process(pattern, plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    before = len(calls)
    monkeypatch.setattr(in_process, stage, lambda *a: (calls.append(a), original(*a))[1])
    prepare_in_process(pattern, plan, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")
    if stage != "add_counts":
        whole = 3 if stage == "parted_events" else 4
        assert len(calls) - before < whole  # what was whole is not made again


DIES = """
import os, signal, sys
from keras_peterrec.log.prepared import in_process
from keras_peterrec.runs.prepare import prepare

name, pattern, out = sys.argv[1:]
original, calls = getattr(in_process, name), []

def dies(*arguments):
    result = original(*arguments)
    calls.append(result)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(in_process, name, dies)
prepare(pattern, out, shards=4)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["_write_batches", "write_records"])
def test_a_killed_process_leaves_nothing_that_harms(tmp_path, stage):
    pattern = write_files(tmp_path / "log", sample_columns())
    command = [sys.executable, "-c", DIES, stage, pattern, str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists() and (tmp_path / "out.preparing").exists()
    plan = Plan.of(pattern, shards=4)
    prepare_in_process(pattern, plan, tmp_path / "out")
    prepare_in_process(pattern, plan, tmp_path / "straight")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_work_on_another_log_is_not_used(tmp_path, monkeypatch):
    first = write_files(tmp_path / "a", sample_columns(seed=1))
    second = write_files(tmp_path / "b", sample_columns(seed=2))
    monkeypatch.setattr(in_process, "write_vocabulary", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare_in_process(first, Plan.of(first, shards=2), tmp_path / "out")
    monkeypatch.undo()
    prepare_in_process(second, Plan.of(second, shards=2), tmp_path / "out")
    same_histories(
        PreparedLog(tmp_path / "out").log(), Events.from_columns(*sample_columns(seed=2))
    )


def test_what_is_there_is_found_or_refused(tmp_path):
    log = Events.from_columns(*sample_columns())
    plan = Plan.of(log, shards=2)
    assert check_out(tmp_path / "out", plan) is None
    prepare_in_process(log, plan, tmp_path / "out")
    assert check_out(tmp_path / "out", plan)["events"] == len(log)
    with pytest.raises(InputError, match="`out` should be a new folder.*prepared otherwise"):
        check_out(tmp_path / "out", Plan.of(log, shards=3))
    with pytest.raises(InputError, match="`out` should be a new folder.*something else"):
        check_out(tmp_path, plan)


SHARD = "peterrec_log-users.tfrecord-00001-of-00002"


def test_damage_is_one_clear_line(tmp_path):
    found, _ = prepared(tmp_path / "out", shards=2)
    shard = tmp_path / "out" / SHARD
    content = shard.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(InputError, match="`log` should be a prepared log that is whole"):
        found.log()
    shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match="00001-of-00002 has .* bytes, not"):
        PreparedLog(tmp_path / "out")
    shard.unlink()
    with pytest.raises(InputError, match="00001-of-00002 is missing"):
        PreparedLog(tmp_path / "out")
    manifest = tmp_path / "out" / "prepared.json"
    manifest.write_text(json.dumps({"format_version": 99}))
    with pytest.raises(InputError, match="version 99; prepare it anew"):
        PreparedLog(tmp_path / "out")
    manifest.write_text("{")
    with pytest.raises(InputError, match="`log` should be a folder that `prepare` has written"):
        PreparedLog(tmp_path / "out")
    manifest.unlink()
    assert not is_prepared(tmp_path / "out") and not is_prepared("clicks.csv")


def flipped(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def reversed_items(file):
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:4] + lines[:3:-1]))


def other_records(file):
    """A record less at the beginning and the same one more at the end."""
    import tensorflow as tf

    records = [record.numpy() for record in tf.data.TFRecordDataset(str(file))]
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records[1:] + records[:1]:
            writer.write(record)


def fewer_events(file):
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "events": content["events"] - 1}))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vocabulary.txt", reversed_items),
        ("item_counts.npy", flipped),
        ("user_lengths.npz", flipped),
        (SHARD, other_records),
        ("prepared.json", fewer_events),
    ],
)
def test_a_file_that_was_changed_is_noticed_before_it_is_used(tmp_path, name, change):
    found, _ = prepared(tmp_path / "out", shards=2)
    found.lengths()
    size = (tmp_path / "out" / name).stat().st_size
    change(tmp_path / "out" / name)
    assert (tmp_path / "out" / name).stat().st_size == size or name == "prepared.json"
    with pytest.raises(InputError, match=f"prepared log that is whole.*{name} was changed"):
        again = PreparedLog(tmp_path / "out")
        again.lengths(), again.counts, again.read([0, 1])


def test_a_kept_split_of_another_log_or_damaged_is_counted_anew(tmp_path):
    few = sample_columns(events=600, users=30)
    found, _ = prepared(tmp_path / "a", few, shards=2)
    other, _ = prepared(tmp_path / "b", few, shards=2, min_count=20)
    low, high = found.times()
    split = f"time:{(low + high) // 2}"
    for log in (found, other):
        log.keep_split(split)
    [kept] = (tmp_path / "a").glob("split-*.npz")
    wanted = count_split(found, split).counts.tolist()
    whole = kept.read_bytes()
    for content in ((tmp_path / "b" / kept.name).read_bytes(), b"", whole[:-1], bytes(len(whole))):
        kept.write_bytes(content)
        assert count_split(found, split).counts.tolist() == wanted
        found.keep_split(split)
        assert kept.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id\na,b\n", "one column `timestamp`"),
        (
            "user_id,item_id,timestamp\na,b,soon\n",
            "`timestamp` should be .* in every row of .*1.csv",
        ),
        ("user_id,item_id,timestamp\na,,3\n", "1.csv.*`item_id` should"),
    ],
)
def test_a_log_that_cannot_be_used_is_refused(tmp_path, content, message):
    (tmp_path / "1.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        plan = Plan.of(str(tmp_path / "*.csv"))
        prepare_in_process(str(tmp_path / "*.csv"), plan, tmp_path / "out")


def test_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="`path` should match files"):
        Plan.of(str(tmp_path / "*.csv"))


def test_a_work_folder_is_one_process_own_also_on_beam(tmp_path, monkeypatch):
    pattern = write_files(tmp_path / "log", sample_columns())
    plan = Plan.of(pattern, shards=2)
    other = filelock.FileLock(tmp_path / "out.preparing" / ".lock", timeout=0, is_singleton=False)
    (tmp_path / "out.preparing").mkdir()
    monkeypatch.setattr(beam, "import_beam", lambda runner: None)
    monkeypatch.setattr(beam, "pipeline_on", lambda *a: 1 / 0)
    with other:
        for prepare_so, more in ((prepare_in_process, ()), (prepare_on_beam, ("DirectRunner", ""))):
            with pytest.raises(InputError, match="should be a folder that no other process works"):
                prepare_so(pattern, plan, tmp_path / "out", *more)
    # What is left of another plan is not taken for this one's, there as well.
    (tmp_path / "out.preparing" / "folder").mkdir()
    (tmp_path / "out.preparing" / "folder" / "vocabulary.txt").write_text("another\n")
    with pytest.raises(ZeroDivisionError):
        prepare_on_beam(pattern, plan, tmp_path / "out", "DirectRunner", "")
    assert not os.listdir(tmp_path / "out.preparing" / "folder")


def test_work_that_outlived_its_result_is_removed_by_the_next_call(tmp_path):
    pattern = write_files(tmp_path / "log", sample_columns())
    prepare(pattern, tmp_path / "out", shards=2)
    (tmp_path / "out.preparing" / "sorted").mkdir(parents=True)  # its process was killed here
    prepare(pattern, tmp_path / "out", shards=2)
    assert sorted(os.listdir(tmp_path)) == ["log", "out"]


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path):
    pattern = write_files(tmp_path / "log", sample_columns())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`out` should be in a folder that can be written"):
        prepare_in_process(pattern, Plan.of(pattern), tmp_path / "file" / "out")
    with pytest.raises(InputError, match="where a `runner` works"), work_beside("/proc/x/y", "log"):
        pass
