"""Labels that only the times between events tell: learned, measured and served."""

import numpy as np
import pytest
from test_fields_run import SMALL

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.user_splits import split_users
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.linear import linear
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.export import export
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

USERS, EVENTS, DAY = 240, 12, 86_400
HOST = SMALL | {"epochs": 1, "steps_per_epoch": 4, "fields": ("kind",)}


def log_of(users, items, times):
    """With a column that says nothing, as one of the host's fields."""
    kinds = np.resize(["a", "b", "c"], len(users)).tolist()
    return Events.from_columns(users, items, times, fields={"kind": kinds})


def visits(seed=0):
    """Everybody buys as much, some in one visit and others on many days; and who came often."""
    draw = np.random.default_rng(seed)
    often = draw.integers(2, size=USERS).astype(bool)
    days = often[:, None] & (draw.random((USERS, EVENTS - 1)) < 0.6)
    gaps = np.where(days, draw.integers(1, 30, days.shape) * DAY, draw.integers(20, 90, days.shape))
    times = 1_700_000_000 + np.pad(np.cumsum(gaps, axis=1), [(0, 0), (1, 0)])
    users = [f"u{n}" for n in range(USERS)]
    items = [f"i{n}" for n in draw.integers(8, size=USERS * EVENTS)]
    log = log_of(np.repeat(users, EVENTS).tolist(), items, times.reshape(-1).tolist())
    return log, {"user_id": users, "often": np.where(often, "yes", "no").tolist()}


def patched(task):
    """The task with a new patch, which changes nothing yet."""
    host, model = task.host, task.model
    reads = {"own_fields": model.own_fields, **host.task_settings()}
    new = build_task(host.backbone, model.head, "patch", "bias", **reads)
    new.linear = model.linear
    return Task(new, "patch", task.kind, host=host)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    out, (log, labels) = tmp_path_factory.mktemp("visits"), visits()
    pretrain(log, out / "host", **HOST)
    asked = {"labels": labels, "column": "often", "kind": "classification"}
    return out, log, asked


@pytest.fixture(scope="module")
def often(shop):
    out, log, asked = shop
    found = transfer(out / "host", log, out / "often", method="head", epochs=1, **asked)
    return found, Task.load(out / "often", Host.load(out / "host"))


def test_only_times_tell_who_comes_often(shop, often):
    out, log, asked = shop
    found, task = often
    without = transfer(
        out / "host", log, out / "without", method="head", epochs=1, times=False, **asked
    )
    assert found["linear"]["times"] and "times" not in without["linear"]
    assert found["metrics"]["test"]["auc"] > 0.95
    assert without["metrics"]["test"]["auc"] < 0.8
    assert task.model.own_fields.read_times
    assert linear(log=log, out=out / "linear", **asked)["metrics"]["test"]["auc"] > 0.95


def test_what_is_measured_is_what_is_served(shop, often):
    out, log, asked = shop
    found, task = often
    again = evaluate(out / "often", log=log, labels=asked["labels"])
    assert again["metrics"]["test"] == found["metrics"]["test"]
    texts, users = log.history_texts(times=True, fields=["kind"]), log.user_ids.tolist()
    answers = task.predict(texts)
    truth = dict(zip(asked["labels"]["user_id"], asked["labels"]["often"]))
    shares = [
        dict(zip(classes, scores))[truth[user]]
        for user, classes, scores in zip(users, answers["classes"], answers["scores"])
    ]
    test = split_users(log.user_ids, 0) == "test"
    np.testing.assert_allclose(
        -np.log(shares)[test].mean(), found["metrics"]["test"]["log_loss"], rtol=1e-4
    )
    # When a server is asked, the task was not told in training, and is not now.
    asked_later = [f"{text} @{1_800_000_000}" for text in texts]
    np.testing.assert_array_equal(task.predict(asked_later)["scores"], answers["scores"])


def test_tasks_that_read_times_are_mixed_with_others(shop, often):
    out, log, _ = shop
    _, task = often
    host, alone = task.host, Task.load(out / "without", task.host)
    tasks = {"often": patched(task), "without": patched(alone)}
    texts = log.history_texts(0, 8, times=True, fields=["kind"]).tolist()
    assert tasks["often"].model.linear.features and not tasks["without"].model.linear.features
    mixed = MixedTasks.of_tasks(tasks)
    for name, one in tasks.items():
        scores = mixed.scores(texts, [name] * len(texts))
        np.testing.assert_allclose(scores, one.scores(texts), rtol=1e-4, atol=1e-4)
    assert host.how_tasks_read(mixed)[1].read_times


def test_a_log_that_only_numbers_its_events_is_still_measured(shop, often):
    out, log, asked = shop
    users, items = log.user_ids[log.users].tolist(), log.item_ids[log.items].tolist()
    places = log_of(users, items, list(range(len(log))))
    found = evaluate(out / "often", log=places, labels=asked["labels"])
    assert found["metrics"]["test"]["auc"] < 0.8


def test_single_events_are_refused(shop, often):
    out, _, _ = shop
    _, task = often
    with pytest.raises(InputError, match="`tasks` should be trained with --no-times"):
        export(task.host, {"often": task}, out / "peterrec" / "1", incremental=True)
    assert not (out / "peterrec").exists()
