"""The linear part of hosts and tasks whose events have fields, from a log to served answers."""

import numpy as np
import pytest
from serving_samples import without_warmup
from test_fields_run import SMALL, columns_of, log_of

from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.prepare import prepare
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

FIELDS, SOME = ("channel", "price"), 8
HOST = SMALL | {"epochs": 1, "steps_per_epoch": 4, "linear": True, "fields": FIELDS}
HOST |= {"times": False, "learning_rate": 1e-4}
ALONE, MIXED = ["paid"], ["kinds", "films"]  # how their answers are exported


def answers_of(columns):
    """Labels and a target log: what was paid, and of whom it is much and who came by app often."""
    users = sorted(set(columns["user_id"]))
    owners = np.array([users.index(user) for user in columns["user_id"]])
    visits = np.bincount(owners[np.array(columns["channel"]) == "app"], minlength=len(users))
    paid = np.bincount(owners, columns["price"], len(users))
    often = np.where(visits >= np.median(visits), "yes", "no").tolist()
    much = np.where(paid >= np.median(paid), "much", "little").tolist()
    labels = {"user_id": users, "paid": paid.round(2).tolist()}
    labels["kinds"] = [f"{a}|{b}" for a, b in zip(often, much)]
    target = {"user_id": users, "item_id": [f"{a} {b}" for a, b in zip(often, much)]}
    return labels, {**target, "timestamp": [2_000_000_000] * len(users)}


def patched(task, host):
    """The task with a new patch, which changes nothing yet, beside its head and linear part."""
    reads = host.task_settings()
    model = build_task(host.backbone, task.model.head, "patch", "bias", **reads)
    model.linear = task.model.linear
    return Task(model, "patch", task.kind, host=host)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A host that reads fields, tasks whose answers only fields tell, and an export of these."""
    out, columns = tmp_path_factory.mktemp("shop"), columns_of(users=240, seed=3)
    log, (labels, target) = log_of(columns), answers_of(columns)
    pretrain(log, out / "host", **HOST)
    asked = {
        "paid": {"labels": labels, "column": "paid", "kind": "regression"},
        "kinds": {"labels": labels, "column": "kinds", "kind": "multilabel"},
        "films": {"target": target},
    }
    found = {
        name: transfer(out / "host", log, out / name, epochs=1, method="head", **more)
        for name, more in asked.items()
    }
    host = Host.load(out / "host")
    tasks = {name: Task.load(out / name, host) for name in asked}
    for name in MIXED:  # as patches are, beside which the linear part is the same
        tasks[name] = patched(tasks[name], host)
        tasks[name].save(out / name, host)
    mixed = MixedTasks.load([out / name for name in MIXED], host)
    tasks = {name: tasks[name] for name in ALONE}
    with without_warmup():
        export(host, tasks, out / "peterrec" / "1", incremental=True, mixed=mixed)
    return out, log, found


def texts_of(log, users):
    channels, prices = (log.fields[name].texts() for name in FIELDS)

    def event(n):
        channel = "" if channels[n] is None else f";channel={channels[n]}"
        return f"{log.item_ids[log.items[n]]}@{log.timestamps[n]}{channel};price={prices[n]}"

    return [" ".join(map(event, range(*log.offsets[user : user + 2]))) for user in users]


def test_the_linear_part_learns_what_only_fields_tell(shop):
    _, _, found = shop
    alone = {name: result["baselines"][-1]["test"] for name, result in found.items()}
    assert all(result["linear"]["fields"] for result in found.values())
    assert alone["paid"]["r2"] > 0.99
    assert alone["kinds"]["macro_auc"] > 0.9
    popularity = found["films"]["baseline"]["test"]["ndcg@5"]
    assert alone["films"]["ndcg@5"] > popularity + 0.2


@pytest.mark.parametrize("name", [*ALONE, *MIXED])
def test_it_is_served_as_it_is_measured(shop, kept_open, name):
    out, log, found = shop
    host, exported = Host.load(out / "host"), kept_open(out / "peterrec")
    task = Task.load(out / name, host)
    assert task.model.linear.features
    texts = texts_of(log, range(SOME))
    # Training's rows, from the columns of the log.
    source = log.encode(host.vocabulary, known_only=True)
    _, read = host.how_tasks_read(task.model)
    rows, width = read.rows(source), int(source.lengths[:SOME].max())
    batch = np.zeros((SOME, width, rows.shape[1]), "int32")
    for row, start, stop in zip(batch, source.offsets, source.offsets[1:]):
        row[width - (stop - start) :] = rows[start:stop]
    np.testing.assert_allclose(task.model(batch), task.scores(texts), rtol=1e-4, atol=1e-4)
    # An export: whole histories, and one event at a time or a task a row.
    answers = task.predict(texts)
    if name in MIXED:
        served, count = exported.mixed(texts, [name] * SOME)["scores"], answers["scores"].shape[1]
        np.testing.assert_allclose(served[:, :count], answers["scores"], rtol=1e-4, atol=1e-4)
        return
    output = "value" if name == "paid" else "scores"
    served, states = exported.predict(name, texts)[output], None
    np.testing.assert_allclose(served, answers[output], rtol=1e-4, atol=1e-4)
    for event in texts[0].split():
        stepped = exported.step(name, [event], states)
        states = stepped["state_bytes"].tolist()
    np.testing.assert_allclose(stepped[output], served[:1], rtol=1e-4, atol=1e-4)
    again = evaluate(out / name, log=log, labels=answers_of(columns_of(users=240, seed=3))[0])
    for metric, value in again["metrics"]["test"].items():  # answers are right to a ten-thousandth
        assert value == pytest.approx(found[name]["metrics"]["test"][metric], rel=1e-4, abs=1e-5)


def halves(users=120, seed=5):
    """The channel of an event says of which half of the items the next one is."""
    draw, rows = np.random.default_rng(seed), []
    for user in range(users):
        side = draw.integers(2)
        for n in range(12):
            item, side = draw.integers(6) + 6 * side, draw.integers(2)
            rows.append((f"u{user}", f"i{item}", 10**9 + n, "app" if side else None, 1.0 + n))
    names = "user_id", "item_id", "timestamp", "channel", "price"
    return dict(zip(names, map(list, zip(*rows))))


def best_of_halves(host):
    """Asks what follows an item that came by app, and one that did not; returns the answers."""
    texts = ["i3 i4;channel=app;price=2", "i3 i4;price=2"]
    best, scores = host.recommend(texts, 6)
    for half, items in zip((range(6, 12), range(6)), best):
        assert set(items) == {f"i{n}" for n in half}
    return texts, scores


def test_the_next_item_too(tmp_path):
    found = pretrain(log_of(halves()), tmp_path / "host", **HOST)
    assert found["linear"]["fields"]
    host = Host.load(tmp_path / "host")
    layer = host.pretrainer.linear
    assert layer.table.shape == (layer.features.rows + 12, 12)
    best_of_halves(host)


@pytest.mark.slow
def test_the_next_item_of_prepared_refreshed_and_exported_hosts(tmp_path):
    log = log_of(halves())
    prepare(log, tmp_path / "log", shards=1)
    settings = {**HOST, "final": True}
    found = [
        pretrain(place, tmp_path / name, **settings)
        for name, place in (("memory", log), ("prepared", tmp_path / "log"))
    ]
    assert found[0]["linear"]["fields"] and found[0]["linear"] == found[1]["linear"]
    host, twin = (Host.load(tmp_path / name) for name in ("memory", "prepared"))
    np.testing.assert_array_equal(host.pretrainer.linear.table, twin.pretrainer.linear.table)
    export(host, {}, tmp_path / "peterrec" / "1")
    texts, scores = best_of_halves(host)
    served = ExportedModel(tmp_path / "peterrec").recommend(texts, 6)[1]
    np.testing.assert_allclose(served, scores, atol=1e-4)
    newer = halves(seed=6)
    newer["item_id"] = [item if item != "i7" else "new" for item in newer["item_id"]]
    quick = {"epochs": 1, "baselines": False}
    refreshed = refresh(tmp_path / "memory", log_of(newer), tmp_path / "newer", **quick)
    assert refreshed["linear"]["fields"]
