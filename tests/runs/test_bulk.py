"""`predict --log`: an answer for every user of a log, in a file."""

import csv
import importlib.util
import json

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving_samples import assert_same

from keras_peterrec.errors import InputError
from keras_peterrec.log.prepared.format import read_bytes, user_hashes
from keras_peterrec.runs import bulk
from keras_peterrec.runs.early_checks import check_places
from keras_peterrec.runs.predict import predict
from keras_peterrec.runs.prepare import prepare
from keras_peterrec.serving.signature_names import COUNTS
from keras_peterrec.settings.predict import PredictSettings

EVENTS = 400
has_beam = importlib.util.find_spec("apache_beam") is not None
needs_beam = pytest.mark.skipif(not has_beam, reason="Apache Beam is not installed")


@pytest.fixture(scope="module")
def events():
    """Users of different lengths, their rows in any order, some items unknown."""
    random = np.random.default_rng(0)
    return {
        "user": [f"u{n}" for n in random.integers(0, 40, EVENTS) ** 2 // 40],
        "item_id": [f"s{n}" for n in random.integers(0, 99, EVENTS)],
        "timestamp": random.permutation(EVENTS).tolist(),
    }


@pytest.fixture(scope="module")
def histories(events):
    """`{user: history}`, sorted by Python."""
    rows = sorted(zip(events["timestamp"], events["user"], events["item_id"]))
    users = dict.fromkeys(events["user"])
    return {user: " ".join(item for _, u, item in rows if u == user) for user in users}


@pytest.fixture(autouse=True)
def shared(request):
    if "causal_export" in request.fixturenames:
        request.getfixturevalue("loaded_once")


@pytest.fixture
def answered(causal_export, events, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 7)
    monkeypatch.setattr(bulk, "BATCH_ITEMS", 30)

    def run(task, name="answers.parquet", **options):
        out = tmp_path / name
        done = predict(
            model=causal_export.out,
            task=[task],
            log=pa.table(events),
            out=out,
            columns={"user_id": "user"},
            **options,
        )
        assert done["out"] == str(out) and done["users"] == len(set(events["user"]))
        assert not list(tmp_path.glob("*.writing"))
        return out

    return run


def as_arrays(table):
    arrays = {n: np.array(table[n].to_pylist()) for n in table.column_names}
    return {n: a.astype(object if a.dtype.kind == "U" else "float32") for n, a in arrays.items()}


@pytest.mark.parametrize("task", ["films", "age-group.v2", "topics", "spend", "embed"])
def test_every_user_is_answered_as_alone(causal_export, answered, histories, task):
    found = as_arrays(pq.read_table(answered(task)))
    named = sorted(found.keys() - {"user_id", *COUNTS})  # in every process
    assert list(found) == ["user_id", *named, "events", "known_events"]
    assert found.pop("user_id").tolist() == list(histories)
    wanted = causal_export.model.predict(task, list(histories.values()))
    assert list(found) == list(wanted)
    assert_same(found, wanted)


def test_how_many_events_are_known_is_told(causal_export, events, histories, tmp_path, capfd):
    items = set(causal_export.host.vocabulary.items)
    known = [sum(item in items for item in text.split()) for text in histories.values()]
    out, columns = tmp_path / "a.parquet", {"user_id": "user"}
    done = predict(
        causal_export.out, task=["spend"], log=pa.table(events), out=out, columns=columns
    )
    assert pq.read_table(out)["known_events"].to_pylist() == known and sum(known) < EVENTS
    assert (done["known_events"], done["events"]) == (sum(known), EVENTS)
    assert done["unknown_users"] == known.count(0)
    said = f"the model knows {sum(known):,} of {EVENTS:,} events; of {known.count(0)} of "
    assert said in capfd.readouterr().err


def test_other_files(answered):
    rows = pq.read_table(answered("films")).to_pylist()
    with open(answered("films", "answers.csv"), newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["items"].split() for row in read] == [row["items"] for row in rows]
    scores = [[float(number) for number in row["scores"].split()] for row in read]
    np.testing.assert_allclose(scores, [row["scores"] for row in rows], rtol=1e-6)
    lines = answered("films", "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["items"] for line in lines] == [row["items"] for row in rows]


def test_what_may_be_recommended(causal_export, answered, histories):
    chosen = {"allow": "s1 s2 s3 t1", "deny": "s2", "k": 2, "keep_seen": True}
    found = as_arrays(pq.read_table(answered("films", **chosen)))
    del found["user_id"]
    assert_same(found, causal_export.model.select("films", list(histories.values()), **chosen))
    texts = list(histories.values())[:2]
    asked = predict(causal_export.out, texts, task=["films"], **chosen)
    assert asked["films"][texts[0]]["items"] == found["items"][0].tolist()


def test_a_prepared_log_is_answered_shard_by_shard(causal_export, events, histories, tmp_path):
    pq.write_table(pa.table(events), tmp_path / "log.parquet")
    prepare(tmp_path / "log.parquet", tmp_path / "log", columns={"user_id": "user"}, shards=3)
    out = tmp_path / "answers.parquet"
    done = predict(causal_export.out, task=["spend"], log=str(tmp_path / "log"), out=out)
    found = pq.read_table(out).to_pydict()
    assert done["users"] == len(histories) and sorted(found["user_id"]) == sorted(histories)
    texts = [histories[user] for user in found["user_id"]]
    wanted = causal_export.model.predict("spend", texts)["value"]
    np.testing.assert_allclose(found["value"], wanted, rtol=1e-5, atol=1e-4)


@pytest.fixture
def log_file(events, tmp_path):
    pq.write_table(pa.table(events), tmp_path / "log.parquet")
    return tmp_path / "log.parquet"


def on_beam(causal_export, log, out, options=None, **question):
    """What a runner of Beam answers, `{user: row}`, and how many files there are."""
    done = predict(
        causal_export.out,
        log=log,
        out=out,
        runner="DirectRunner",
        pipeline_options=options,
        columns=None if isinstance(log, str) else {"user_id": "user"},
        **question,
    )
    files = sorted(out.parent.glob("answers-*"))
    assert [file.name for file in files] == [
        f"answers-{n:05d}-of-{done['files']:05d}.parquet" for n in range(done["files"])
    ]
    assert not list(out.parent.glob("*.writing"))
    rows = {}
    for n, file in enumerate(files):
        users = pq.read_table(file)["user_id"].combine_chunks()
        hashes = user_hashes(users)
        assert (hashes % np.uint64(len(files)) == n).all() and (np.sort(hashes) == hashes).all()
        rows |= {row.pop("user_id"): row for row in pq.read_table(file).to_pylist()}
    assert done["users"] == len(rows)
    return rows, len(files)


def assert_same_rows(found, table):
    wanted = {row.pop("user_id"): row for row in table.to_pylist()}
    assert found.keys() == wanted.keys()
    for user, row in wanted.items():
        assert found[user].keys() == row.keys()
        for name, values in row.items():
            if name in ("items", "classes"):
                assert found[user][name] == values
            else:
                np.testing.assert_allclose(found[user][name], values, rtol=1e-5, atol=1e-5)


@needs_beam
def test_beam_answers_as_this_process_does(causal_export, answered, log_file, tmp_path):
    chosen = {"task": ["films"], "deny": "s2", "k": 3}
    out = tmp_path / "answers.parquet"
    wanted = pq.read_table(answered("films", "here.parquet", deny="s2", k=3))
    (tmp_path / "answers-00000-of-00007.parquet").touch()  # of an earlier call
    found, files = on_beam(causal_export, log_file, out, **chosen)
    assert files == 1
    assert_same_rows(found, wanted)


@needs_beam
def test_beam_answers_the_shards_of_a_prepared_log(causal_export, answered, log_file, tmp_path):
    """With two worker processes; one shard has no user."""
    prepare(log_file, tmp_path / "log", columns={"user_id": "user"}, shards=40)
    wanted = pq.read_table(answered("age-group.v2", "here.parquet"))
    options = "--direct_running_mode=multi_processing --direct_num_workers=2"
    out = tmp_path / "answers.parquet"
    asked = {"options": options, "task": ["age-group.v2"]}
    found, files = on_beam(causal_export, str(tmp_path / "log"), out, **asked)
    assert files == 40
    assert_same_rows(found, wanted)


@needs_beam
def test_the_log_and_the_answers_may_be_remote(causal_export, answered, log_file):
    wanted = pq.read_table(answered("spend"))
    fsspec.filesystem("memory").pipe("/bulk/1.parquet", log_file.read_bytes())
    out = "ram://bulk/answers.parquet"  # a file system that every TensorFlow has, as it has gs://
    asked = {"task": ["spend"], "log": "memory://bulk/*", "out": out, "runner": "DirectRunner"}
    asked |= {"columns": {"user_id": "user"}}
    check_places(PredictSettings(model=causal_export.out, **asked))  # as the command line does
    assert predict(causal_export.out, **asked)["out"] == "ram://bulk/answers-*-of-*.parquet"
    file = pa.py_buffer(read_bytes("ram://bulk", "answers-00000-of-00001.parquet"))
    found = {row.pop("user_id"): row for row in pq.read_table(pa.BufferReader(file)).to_pylist()}
    assert_same_rows(found, wanted)


@needs_beam
def test_a_log_that_beam_cannot_read_is_one_clear_line(causal_export, tmp_path):
    (tmp_path / "1.csv").write_text("user_id,item_id,timestamp\na,b,soon\n")
    with pytest.raises(InputError, match="`timestamp` should be .* in every row") as caught:
        predict(
            causal_export.out,
            log=str(tmp_path / "1.csv"),
            out=tmp_path / "a.csv",
            runner="DirectRunner",
        )
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["1.csv"]


@pytest.mark.skipif(has_beam, reason="Apache Beam is installed")
def test_without_beam_it_says_what_to_install(causal_export, log_file, tmp_path):
    with pytest.raises(InputError, match=r"`runner` needs Apache Beam: pip install"):
        predict(causal_export.out, log=log_file, out=tmp_path / "a.csv", runner="DirectRunner")


def test_a_failure_leaves_the_old_file(answered, tmp_path, monkeypatch):
    out = answered("spend")
    before = out.read_bytes()
    monkeypatch.setattr(bulk, "answers_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answered("spend")
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]


def test_lists_in_csv_keep_items_apart(tmp_path):
    from keras_peterrec.runs.bulk import table_writer

    with table_writer(tmp_path / "a.csv", ".csv") as write:
        write(pa.table({"items": [["New York", "b"], ["c", ""]]}))
    assert (tmp_path / "a.csv").read_text() == '"items"\n"New%20York b"\n"c "\n'


def test_batches_hold_every_user_once():
    lengths = np.array([500, 0, 3, 3, 90, 1])
    batches = list(bulk.batches_of(lengths))
    order = np.argsort(lengths, kind="stable")
    assert np.concatenate(batches).tolist() == order.tolist()
    assert [len(batch) * max(lengths[batch]) <= bulk.BATCH_ITEMS for batch in batches]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "`predict` should be given --history, or --log and --out. Received: neither."),
        ({"history": ["a"], "log": "b"}, "Received: both."),
        ({"log": "b"}, "`out` should be given with --log"),
        ({"history": ["a"], "out": "b.csv"}, "`log` should be given with --out"),
        ({"log": "b", "out": "b.csv", "task": ["x", "y"]}, "`task` should be one task with --log"),
        ({"log": "b", "out": "b.txt"}, "`out` should end in .parquet, .csv, .jsonl. Received"),
        ({"log": "b", "out": "none/b.csv"}, "`out` should be in a folder that exists"),
        ({"history": ["a"], "k": -1}, "`k` should be at least 0"),
        ({"history": ["a"], "runner": "DirectRunner"}, "`log` should be given with --runner"),
        (
            {"log": "b", "out": "b.csv", "pipeline_options": "--x"},
            "`pipeline_options` should be left out without `runner`",
        ),
    ],
)
def test_mistakes(causal_export, options, said):
    with pytest.raises(InputError, match=said):
        predict(model=causal_export.out, **options)
