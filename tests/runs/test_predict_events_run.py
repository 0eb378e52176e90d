"""Hosts that read all events and are trained and measured on some, from a log to answers."""

import json

import numpy as np
import pytest
from test_fields_run import SMALL

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.splits import AskedEvents
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.host_life import new_pretrainer, training_batches
from keras_peterrec.runs.inspect import inspect
from keras_peterrec.runs.prepare import prepare
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.transfer.host import Host

VIEWED, SOLD = [f"i{n}" for n in range(6)], [f"p{n}" for n in range(6)]
HOST = SMALL | {"times": False, "epochs": 1, "steps_per_epoch": 4, "linear": True}
BUYS = {"predict": "kind=buy"}


def shop(users=120, seed=0, renamed=None):
    """Views of anything, at any time a purchase of what belongs to the last view, then views."""
    draw, rows = np.random.default_rng(seed), []
    for user in range(users):
        for time in range(14):
            view = draw.integers(6)
            rows.append((f"u{user}", VIEWED[view], 3 * time, "view"))
            if draw.random() < 0.3:
                rows.append((f"u{user}", SOLD[view], 3 * time + 1, "buy"))
    users, items, times, kinds = map(list, zip(*rows))
    items = [renamed if renamed and item == "i3" else item for item in items]
    return Events.from_columns(users, items, times, fields={"kind": kinds})


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """A host of purchases, on the log in memory and prepared."""
    out, log = tmp_path_factory.mktemp("buys"), shop()
    prepare(log, out / "log", shards=1)
    settings = HOST | BUYS | {"baselines": True}
    found = [
        pretrain(place, out / name, **settings)
        for name, place in (("memory", log), ("prepared", out / "log"))
    ]
    return out, log, found


def test_it_answers_with_what_is_bought(hosts):
    out, log, (found, prepared) = hosts
    host = Host.load(out / "memory")
    assert host.predict == "kind=buy" and host.fields.names == []
    best, _ = host.recommend(["i0 i4 i2", "p3 i1"], 1, keep_seen=True)
    assert best[:, 0].tolist() == ["p2", "p1"]
    assert found["metrics"]["test"]["repeat_ndcg@10"] > 0.9
    slit = next(b["test"] for b in found["baselines"] if b["name"] == "SLIT")
    assert slit["repeat_ndcg@10"] > 0.9
    # What is popular is what is bought: all six come before what is viewed more often.
    assert found["baseline"]["test"]["repeat_hr@10"] > 0.9
    for name in ("metrics", "baselines", "linear"):
        assert prepared[name] == found[name]
    assert found["data"]["events_to_predict"] == int((log.fields["kind"].texts() == "buy").sum())


def test_it_is_kept_and_said(hosts, tmp_path):
    out, log, (found, _) = hosts
    assert json.loads((out / "memory" / "host.json").read_text())["predict"] == "kind=buy"
    assert inspect(out / "memory")["host"]["predict"] == "kind=buy"
    measured = evaluate(out / "memory", log=log)
    for name, value in measured["metrics"]["test"].items():
        assert value == pytest.approx(found["metrics"]["test"][name], abs=1e-6)
    assert measured["baselines"][0]["test"] == found["baseline"]["test"]
    refreshed = refresh(out / "memory", shop(seed=1, renamed="new"), tmp_path / "host", epochs=1)
    assert Host.load(tmp_path / "host").predict == "kind=buy"
    assert refreshed["metrics"]["test"]["repeat_ndcg@10"] > 0.8


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_training_asks_for_nothing_else(tmp_path, objective):
    log = shop(users=30)
    asked = log.asking(AskedEvents.parse("kind=buy"))
    read = PretrainingLog.of(asked, 1)
    widths = {name: HOST[name] for name in ("hidden_dim", "blocks", "max_length", "batch_size")}
    settings = PretrainSettings(log, tmp_path, objective=objective, **widths)
    pretrainer = new_pretrainer(settings.sized(0, 0), len(read.vocabulary))
    seen = set()
    for _, targets, weights in training_batches(pretrainer, read, settings).take(6):
        targets = np.asarray(targets)[np.asarray(weights) > 0]
        seen |= set(read.vocabulary.decode(targets[targets > 0]))
    assert seen and seen <= set(SOLD)


def test_what_cannot_be_is_refused(tmp_path):
    log = shop(users=10)
    with pytest.raises(InputError, match="`log` should have the column 'type'"):
        pretrain(log, tmp_path / "host", **HOST, predict="type=buy")
    with pytest.raises(InputError, match="`predict` should be a column and its values"):
        pretrain(log, tmp_path / "host", **HOST, predict="buy")
