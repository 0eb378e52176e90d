"""`--split time:MOMENT`: nothing from the moment on reaches training."""

import json

import numpy as np
import pytest
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.host import Host

SMALLER = {"hidden_dim": 8, "blocks": 1, "max_length": 20, "epochs": 1, "baselines": False}
MOMENT = 700
AT = {"split": f"time:{MOMENT}", "epochs": 1, "method": "head", "baselines": False}


def walk(seed, users=40, events=12, items=10, prefix="i", ends_other=False):
    """Walks around a circle of items; those of another future differ from the moment on."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(users), events)
    times = random.integers(0, 1_000, len(who))
    what = (who + np.tile(np.arange(events), users)) % items
    if ends_other:
        after = times >= MOMENT
        what[after] = (what[after] * 3 + 1) % items
        times[after] = times[after] // 2 + 700 - MOMENT // 2
    return Events.from_columns(
        [f"u{n}" for n in who], [f"{prefix}{n}" for n in what], times.tolist()
    )


@pytest.fixture(scope="module")
def host_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("time") / "host"
    pretrain(walk(0), folder, split=f"time:{MOMENT}", **SMALLER)
    return folder


def test_another_future_gives_the_same_host(host_folder, tmp_path):
    changed = walk(0, ends_other=True)
    assert (changed.timestamps < MOMENT).tolist() == (walk(0).timestamps < MOMENT).tolist()
    other = pretrain(changed, tmp_path / "other", split=f"time:{MOMENT}", **SMALLER)
    one = json.loads((host_folder / "metrics.json").read_text())
    assert one["metrics"]["validation"] == other["metrics"]["validation"]
    assert one["metrics"]["test"] != other["metrics"]["test"]
    hosts = [Host.load(folder) for folder in (host_folder, tmp_path / "other")]
    assert hosts[0].fingerprint() == hosts[1].fingerprint()
    assert hosts[0].origin == {"split": f"time:{MOMENT}", "final": False}


def test_an_evaluation_asks_what_the_run_asked(host_folder):
    metrics = json.loads((host_folder / "metrics.json").read_text())["metrics"]["test"]
    assert evaluate(host_folder, log=walk(0))["metrics"]["test"] == pytest.approx(metrics)


@pytest.mark.parametrize("what", ["target", *slow("labels")])
def test_another_future_gives_the_same_task(what, host_folder, tmp_path, capsys):
    labels = Labels.from_columns([f"u{n}" for n in range(40)], ["x", "y", "z", "x"] * 10, "letter")
    for name, differs in (("one", False), ("other", True)):
        log = walk(0, ends_other=differs)
        given = {"labels": labels}
        if what == "target":
            given = {"target": walk(1, items=6, prefix="t", ends_other=differs)}
        transfer(host_folder, log, tmp_path / name, **given, **AT)
    one, other = (np.load(tmp_path / name / "weights.npz") for name in ("one", "other"))
    assert one.files == other.files
    for path in one.files:
        np.testing.assert_array_equal(one[path], other[path], err_msg=path)
    results = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "other")]
    assert results[0]["metrics"]["validation"] == results[1]["metrics"]["validation"]
    assert results[0]["metrics"]["test"] != results[1]["metrics"]["test"]
    assert "the host was trained on events after" not in capsys.readouterr().err


def test_a_host_that_saw_the_future_is_said(host_folder, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt  # what follows is training

    monkeypatch.setattr("keras_peterrec.runs.transfer.TaskLife.begin", stop)
    host, target = Host.load(host_folder), walk(1, items=6, prefix="t")
    host.origin = {**host.origin, "split": "last"}
    host.save(tmp_path / "host")
    with pytest.raises(KeyboardInterrupt):
        transfer(tmp_path / "host", walk(0), tmp_path / "task", target=target, **AT)
    assert "the host was trained on events after time:700" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("time:yesterday", "`split` should be 'last', or 'time:' and a date"),
        ("users", "`split` should be 'last', or 'time:' and a date"),
        ("time:5000", "`split` should leave events for training, validation and test"),
        ("time:-1", "`split` should leave events for training, validation and test"),
        ("time:2026-09-01", "Received: 'time:2026-09-01' for timestamps from"),
    ],
)
def test_a_moment_without_events_on_both_sides_is_refused(split, message, tmp_path):
    with pytest.raises(InputError, match=message):
        pretrain(walk(0), tmp_path / "host", split=split, **SMALLER)
    assert not (tmp_path / "host").exists()


def test_whole_histories_hold_the_future(tmp_path):
    with pytest.raises(InputError, match="`cut_history` should be left out with a `split` by"):
        transfer("host", "log", tmp_path, target="target", split="time:3", cut_history=False)


@pytest.mark.parametrize("moment", [50, 95])
def test_a_log_of_sessions_has_nobody_on_both_sides_of_a_moment(moment, tmp_path):
    """Each user is a visit, and all of its events lie on one day."""
    days = np.repeat(np.arange(100), 5)
    sessions = Events.from_columns(
        [f"s{day}" for day in days], [f"i{n % 7}" for n in range(500)], days.tolist()
    )
    message = f"no user has events before it and one to predict.*--split last.*'time:{moment}'"
    with pytest.raises(InputError, match=message):
        pretrain(sessions, tmp_path / "host", split=f"time:{moment}", **SMALLER)
