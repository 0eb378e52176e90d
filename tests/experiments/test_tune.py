"""Choosing settings by validation: what is tried, kept, told and gone on with."""

import json

import numpy as np
import pytest
from commands import run_here
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_peterrec.errors import InputError
from keras_peterrec.experiments import tune
from keras_peterrec.files.json_file import write_json
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.network.sizes import DROPOUT
from keras_peterrec.report.kept_rows import RUN, VALIDATION_USERS, read_test_users
from keras_peterrec.settings.tune import Searched, TunePretrainSettings
from keras_peterrec.transfer.host import Host

pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("here")
USERS = [f"u{n}" for n in range(400)]
SEARCH = ("hidden_dim=8,16,32", "dropout=0.1..0.5")
SMALL = ("--epochs", 1, "--blocks", 1, "--hidden-dim", 8, "--max-length", 16)
SMALL += ("--no-baselines", "--no-linear")


class Command:
    """A command whose validation is best without dropout; 32 channels need too much memory."""

    def __init__(self, noise=0.0, stops_at=None):
        self.noise, self.stops_at, self.tried = noise, stops_at, []

    def __call__(self, out, hidden_dim, dropout, **others):
        dropout = DROPOUT if dropout is None else dropout
        self.tried.append((hidden_dim, dropout))
        if len(self.tried) == self.stops_at:
            raise KeyboardInterrupt
        if hidden_dim == 32:
            raise MemoryError("all of it is used")
        random = np.random.default_rng(int(dropout * 1_000))
        of_users = 1 - dropout + self.noise * random.normal(size=len(USERS))
        mean = float("nan") if dropout > 0.45 else of_users.mean()
        validation = Measured({"ndcg@10": mean}, {"ndcg@10": of_users}, range(400), None, USERS)
        result = {
            "decides": {"name": "ndcg@10", "higher_is_better": True, "root_of": None},
            "metrics": {"validation": validation, "test": {"ndcg@10": dropout}},
            "seconds": {"total": 60.0},
        }
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "metrics.json", result)
        return result


def search(out, command, trials=14, **given):
    given = {"search": SEARCH, "hidden_dim": 8, "trials": trials, **given}
    return tune._tune(TunePretrainSettings("a.csv", out, **given), command)


def test_the_best_on_validation_is_kept_and_what_fails_is_a_trial(tmp_path, capfd):
    command = Command()
    result = search(tmp_path / "out", command)
    assert command.tried[0] == (8, 0.3)  # the settings as given
    states = [trial["state"] for trial in result["trials"]]
    assert len(states) == 14 == len({*command.tried}) and {*states} == {"done", "failed"}
    done = [trial for trial in result["trials"] if trial["state"] == "done"]
    assert result["best"]["value"] == max(trial["value"] for trial in done)
    assert result["best"]["test"]["ndcg@10"] == result["best"]["settings"]["dropout"]  # the worst
    best = json.loads((tmp_path / "out" / "best" / "metrics.json").read_text())
    assert best["metrics"]["validation"]["ndcg@10"] == result["best"]["value"]
    told = capfd.readouterr().err
    assert "failed: all of it is used" in told
    assert "It beats the settings as given: validation ndcg@10 +" in result["advice"]
    tags = EventAccumulator(str(tmp_path / "out" / "logs" / "trial-000")).Reload().Tags()
    assert "validation/ndcg@10" in tags["tensors"]
    assert (tmp_path / "out" / "tuning.png").stat().st_size > 10_000


def test_a_search_that_was_stopped_goes_on_as_it_would_have(tmp_path):
    whole = Command()
    expected = search(tmp_path / "whole", whole, trials=6)
    stopped, rest = Command(stops_at=4), Command()
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "out", stopped, trials=6)
    result = search(tmp_path / "out", rest, trials=6)
    # The first is asked again, which says whether the data is the same.
    assert stopped.tried[:3] + rest.tried[1:] == whole.tried
    assert [t["settings"] for t in result["trials"]] == [t["settings"] for t in expected["trials"]]
    assert len(search(tmp_path / "out", Command(), trials=7)["trials"]) == 7
    for other in ({"search": ("dropout=0.1..0.4",)}, {"seed": 1}, {"epochs": 3}):
        with pytest.raises(InputError, match="`out` should be a new folder or that of the same ru"):
            search(tmp_path / "out", Command(), **other)


def test_noise_is_called_noise_and_minutes_are_kept(tmp_path):
    result = search(tmp_path / "out", Command(3.0), None, search=("dropout=0.2..0.4",), minutes=5)
    assert len(result["trials"]) == 5
    assert result["best"]["number"] != 0 and result["difference"]["low"] < 0
    assert "within noise, so the settings as given do as well" in result["advice"]


def test_all_is_tried_once_and_the_settings_as_given_may_not_fail(tmp_path):
    result = search(tmp_path / "out", Command(), search=("hidden_dim=8,16",), trials=9)
    assert [trial["settings"]["hidden_dim"] for trial in result["trials"]] == [8, 16]

    def refuses(**arguments):
        raise InputError("`log` should have events.")

    with pytest.raises(InputError, match="`log` should have events"):
        search(tmp_path / "no", refuses)


def test_values_are_learned_from(tmp_path):
    optuna, space = tune._import_optuna(), [Searched("dropout", None, 0.0, 0.9)]
    decides = {"name": "log_loss", "higher_is_better": False, "root_of": None}
    trials = [
        {"settings": {"dropout": x}, "state": "done", "value": abs(x - 0.8), "decides": decides}
        for x in np.linspace(0.0, 0.9, 25).round(3).tolist()
    ]
    asked = [tune.propose(optuna, space, trials, seed)["dropout"] for seed in range(9)]
    assert 0.6 < np.median(asked) <= 0.9


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InputError, match=r"`tune` needs Optuna: pip install 'keras-peterrec\[tun"):
        search(tmp_path / "out", Command())


def test_the_command_leaves_an_ordinary_run(tmp_path):
    out = tmp_path / "out"
    words = ("tune", "pretrain", "--out", out, *SMALL, "--search", "dropout=0.1,0.3", "--trials", 2)
    done = run_here(*words, "--log", "simulated/source")
    assert done.returncode == 0, done.stderr
    assert (
        "tune pretrain: 2 trials" in done.stdout and "test ndcg@10 of the best: 0." in done.stdout
    )
    result = json.loads((out / "metrics.json").read_text())
    assert [trial["settings"]["dropout"] for trial in result["trials"]] == [0.3, 0.1]
    for trial in result["trials"]:
        users = read_test_users(out / trial["folder"], VALIDATION_USERS)[RUN]
        np.testing.assert_allclose(users.mean, trial["value"], rtol=1e-5)
    assert Host.load(out / "best").backbone.hidden_dim == 8
    other = run_here(*words, "--log", "simulated/target")
    assert other.returncode == 2 and other.stderr.count("which holds a run with `data`") == 1
