"""From a log with times and fields to answers: what they tell is learned, measured and served."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from serving_samples import without_warmup

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.events import Events
from keras_peterrec.log.item_features import read_items
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.predict import predict
from keras_peterrec.runs.prepare import prepare
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.grown_host import add_items
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task

SMALL = {
    "hidden_dim": 32,
    "blocks": 1,
    "max_length": 20,
    "batch_size": 4,
    "learning_rate": 5e-3,
    "dropout": 0.0,
    "unknown_rate": 0.0,
    "later_rate": 0.0,
    "linear": False,
    "baselines": False,
}
SHORT, LONG, ITEMS = 30, 3 * 86_400, 12


def columns_of(users=160, seed=0):
    """What comes next depends on how much later it comes, and the price says where a user is going.

    After half a minute it is the next item, after three days the one on the other side.
    """
    draw, rows = np.random.default_rng(seed), []
    for user in range(users):
        item, time, rich = draw.integers(ITEMS), 1_700_000_000 + user, user % 2
        for _ in range(draw.integers(8, 16)):
            gap = int(draw.choice([SHORT, LONG]))
            price = draw.uniform(10, 20) if rich else draw.uniform(0, 12)
            rows.append((f"u{user}", f"i{item}", time, "app" if gap == SHORT else None, price))
            item = (item + (1 if gap == SHORT else ITEMS // 2)) % ITEMS
            time += gap
    names = "user_id", "item_id", "timestamp", "channel", "price"
    return dict(zip(names, map(list, zip(*rows))))


def log_of(columns, fields=("channel", "price")):
    base = [columns[name] for name in ("user_id", "item_id", "timestamp")]
    return Events.from_columns(*base, fields={name: columns[name] for name in fields})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Hosts with and without times, one on a prepared log, a task, and an export of these."""
    out, columns = tmp_path_factory.mktemp("fields"), columns_of()
    log = log_of(columns)
    users = sorted(set(columns["user_id"]))
    labels = {"user_id": users, "rich": ["yes" if int(u[1:]) % 2 else "no" for u in users]}
    learning = SMALL | {"epochs": 8, "learning_rate": 1e-2}
    pretrain(log, out / "ids", times=False, **learning)
    pretrain(log, out / "host", fields="price", **learning)
    settings = {"epochs": 3, "baselines": False, "linear": False, "labels": labels}
    settings["patch"] = "bias"
    with pytest.MonkeyPatch.context() as patch:  # so few steps hardly beat noise
        patch.setattr("keras_peterrec.runs.task_training.why_head_is_all", lambda *_: None)
        transfer(out / "host", log, out / "rich", column="rich", **settings)
    runs = {"host": out / "host", "task": (out / "rich",), "out": out / "peterrec" / "1"}
    with without_warmup():
        export_runs(**runs, incremental=True)
    return out


@pytest.fixture(scope="module")
def exported(folder, kept_open):
    return kept_open(folder / "peterrec")


def test_times_are_learned(folder):
    measured = {
        name: json.loads((folder / name / "metrics.json").read_text()) for name in ("ids", "host")
    }
    assert measured["host"]["data"]["fields"] == ["time", "price"]
    assert "fields" not in measured["ids"]["data"]
    with_times, without = (measured[name]["metrics"]["test"]["ndcg@5"] for name in ("host", "ids"))
    assert with_times > 1.15 * without


def test_what_is_measured_is_what_is_served(folder, exported):
    host, log = Host.load(folder / "host"), log_of(columns_of())
    assert host.fields.names == ["time", "price"]
    events = log.encode(host.vocabulary)
    starts, stops, targets = events.held_out(TEST)
    texts = [
        " ".join(
            f"{log.item_ids[log.items[n]]}@{log.timestamps[n]};price={log.fields['price'].texts()[n]}"
            for n in range(start, stop)
        )
        + f" @{log.timestamps[stop]}"
        for start, stop in zip(starts, stops)
    ]
    items, scores = exported.recommend(texts, 5)
    again, same = host.recommend(texts, 5)
    assert (items == again).mean() > 0.99
    np.testing.assert_allclose(scores, same, atol=1e-5)
    asked = host.vocabulary.decode(targets)
    hits = (items == asked[:, None]).any(axis=1).mean()
    found = NextItemEvaluation(events, 20, TEST, host.keep_seen, fields=host.fields)
    assert found.measure(host.pretrainer)["hr@5"] == pytest.approx(hits, abs=0.01)
    metrics = json.loads((folder / "host" / "metrics.json").read_text())["metrics"]
    assert metrics["test"]["hr@5"] == pytest.approx(hits, abs=0.01)
    measured = evaluate(folder / "host", log=log)["metrics"]["test"]
    assert measured["ndcg@10"] == pytest.approx(metrics["test"]["ndcg@10"], abs=1e-5)


def test_the_moment_of_the_question_changes_the_answer(folder, exported):
    host = Host.load(folder / "host")
    history, times = [["i3", "i4"]] * 2, [[0, SHORT, 2 * SHORT], [0, SHORT, SHORT + LONG]]
    times = [[1_700_000_000 + t for t in of_one] for of_one in times]
    soon, late = exported.recommend(history, 1, times=times)[0][:, 0]
    assert [soon, late] == host.recommend(history, 1, times=times)[0][:, 0].tolist()
    assert (soon, late) == ("i5", "i10")
    without = exported.recommend(["i3 i4"], 2)[0]
    assert set(without[0]) == {"i5", "i10"}


def test_a_table_is_answered_alike_by_all(folder, exported, tmp_path):
    columns = columns_of(users=20, seed=1)
    task = Task.load(folder / "rich", Host.load(folder / "host"))
    for name, answer in (("serving_default", None), ("rich", task.predict(columns))):
        served = exported.predict(name, columns)
        if answer is not None:
            np.testing.assert_allclose(served["scores"], answer["scores"], atol=1e-5)
        out = tmp_path / f"{name}.parquet"
        predict(folder / "peterrec", task=(name,), log=pa.table(columns), out=out)
        written = pyarrow.parquet.read_table(out).to_pydict()
        order = [written["user_id"].index(user) for user in served["user_id"]]
        scores = np.array([written["scores"][place] for place in order])
        np.testing.assert_allclose(served["scores"], scores, atol=1e-5)
    plain = {name: columns[name] for name in ("user_id", "item_id", "timestamp")}
    assert np.abs(task.predict(plain)["scores"] - answer["scores"]).max() > 1e-4


def test_a_task_reads_prices_one_by_one(exported):
    events = ["i3;price=19.5", "i4;price=3.25", "i10"]
    states = None
    for event in events:
        stepped = exported.step("rich", [event], states)
        states = stepped["state_bytes"].tolist()
    whole = exported.predict("rich", [" ".join(events)])
    by_class = dict(zip(whole["classes"][0], whole["scores"][0]))
    for name, score in zip(stepped["classes"][0], stepped["scores"][0]):
        assert score == pytest.approx(by_class[name], abs=1e-5)
    untold = exported.predict("rich", ["i3 i4 i10"])
    assert abs(untold["scores"] - whole["scores"]).max() > 1e-5


@pytest.mark.slow
def test_a_prepared_log_pretrains_the_same_host(folder, tmp_path):
    log = log_of(columns_of())
    prepare(log, tmp_path / "log", shards=1)
    settings = SMALL | {"epochs": 1, "fields": ("channel", "price"), "steps_per_epoch": 8}
    for name, place in (("memory", log), ("prepared", tmp_path / "log")):
        pretrain(place, tmp_path / name, **settings)
    hosts = [Host.load(tmp_path / name) for name in ("memory", "prepared")]
    assert hosts[0].fields.names == ["time", "channel", "price"]
    assert hosts[0].fingerprint() == hosts[1].fingerprint()


@pytest.mark.slow
def test_a_refreshed_host_reads_the_same(folder, tmp_path):
    newer = columns_of(seed=2)
    newer["item_id"] = [item if item != "i7" else "new" for item in newer["item_id"]]
    quick = {"epochs": 1, "linear": False, "baselines": False}
    refresh(folder / "host", log_of(newer), tmp_path / "host", **quick)
    assert Host.load(tmp_path / "host").fields.names == ["time", "price"]
    refresh(folder / "host", log_of(newer), tmp_path / "kept", keep_host_items=True, **quick)
    kept, host = Host.load(tmp_path / "kept"), Host.load(folder / "host")
    assert host.fingerprint() in kept.compatible_with
    before, after = host.backbone.named_weights(), kept.backbone.named_weights()
    for path in before:
        if path.startswith("field"):
            np.testing.assert_array_equal(np.asarray(after[path]), np.asarray(before[path]))
    with pytest.raises(InputError, match="`log` should have the column 'price', which is read"):
        refresh(folder / "host", log_of(newer, ()), tmp_path / "none", **quick)


@pytest.mark.slow
def test_timestamps_that_only_order_are_not_learned_from(tmp_path, capsys):
    columns = columns_of(users=30)
    columns["timestamp"] = list(range(len(columns["timestamp"])))
    settings = SMALL | {"epochs": 1, "steps_per_epoch": 2}
    pretrain(log_of(columns), tmp_path / "host", **settings)
    assert Host.load(tmp_path / "host").fields.names == []
    said = "the timestamps tell an order and not when an event was, so the network reads no times"
    assert said in capsys.readouterr().err


def test_fields_of_items_are_trained_and_leave_a_host_like_others(tmp_path):
    columns, out = columns_of(users=60), tmp_path / "host"
    items = {"item_id": [f"i{n}" for n in range(ITEMS)], "side": ["a", "b"] * (ITEMS // 2)}
    settings = SMALL | {"epochs": 1, "steps_per_epoch": 3, "times": False, "final": True}
    with pytest.raises(InputError, match="`items` and `item_fields` should be given together"):
        pretrain(log_of(columns), out, items=items, **settings)
    measured = pretrain(log_of(columns), out, items=items, item_fields="side", **settings)
    assert measured["item_fields"] == ["side"]
    host = Host.load(out)
    assert host.pretrainer.input_fields is None and host.fields.names == []
    assert not any("field" in path for path in host.backbone.named_weights())
    assert host.item_fields.fields[0].values == ["a", "b"]
    more = {"item_id": [*items["item_id"], "new"], "side": [*items["side"], "a"]}
    assert add_items(host, read_items(more)).item_fields is host.item_fields
    other = {**items, "side": ["b", "b", *items["side"][2:]]}
    with pytest.raises(InputError, match="`out` should be a new folder or that of the same run"):
        pretrain(log_of(columns), out, items=other, item_fields="side", **settings)


@pytest.mark.slow
def test_vectors_of_items_are_trained_and_leave_a_host_like_others(tmp_path):
    columns, turn = columns_of(users=60), 2 * np.pi / ITEMS
    place = [[float(np.cos(n * turn)), float(np.sin(n * turn))] for n in range(ITEMS)]
    items = pa.table({"item_id": [f"i{n}" for n in range(ITEMS)], "place": place})
    pyarrow.parquet.write_table(items, tmp_path / "items.parquet")
    settings = SMALL | {"epochs": 1, "steps_per_epoch": 3, "times": False}
    given = {"items": tmp_path / "items.parquet", "item_fields": "place"}
    measured = pretrain(log_of(columns), tmp_path / "host", **given, **settings)
    assert measured["item_fields"] == ["place"]
    host = Host.load(tmp_path / "host")
    assert not any("field" in path for path in host.backbone.named_weights())
    again = evaluate(tmp_path / "host", log=log_of(columns))["metrics"]["test"]
    assert again["ndcg@10"] == pytest.approx(measured["metrics"]["test"]["ndcg@10"], abs=1e-6)
