"""Pretraining as a run: what is written, resumed and refused."""

import contextlib
import io
import json
import shutil

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_peterrec.errors import InputError
from keras_peterrec.files.finish_request import ask_to_finish
from keras_peterrec.files.history_file import read_rows
from keras_peterrec.log.event_split import TEST, VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.read_log import read_log
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.sources.simulated_shop import simulate_shop
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.runs import host_linear
from keras_peterrec.runs.host_life import new_pretrainer, training_batches
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.pretraining_log import PretrainingLog, encode_log
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.training.callbacks import ProgressLines
from keras_peterrec.transfer.host import Host

SMALL = {"hidden_dim": 16, "blocks": 1, "max_length": 20}  # of `host_folder`
SMALLER = {"hidden_dim": 8, "blocks": 1, "max_length": 20}  # compiles in half the time


SUITED = "as suits 6,426 training events of 150 items"


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a run without interruption, its result, and what it said."""
    folder, said = tmp_path_factory.mktemp("straight") / "host", io.StringIO()
    with contextlib.redirect_stderr(said):
        result = pretrain("simulated/source", folder, epochs=3, **SMALLER)
    return folder, result, said.getvalue()


def test_run_folder_is_a_host_and_its_metrics(host_folder):
    result = json.loads((host_folder / "metrics.json").read_text())
    assert result["command"] == "pretrain" and result["seed"] == 0
    assert result["data"]["users"] == 300
    assert result["data"]["fingerprint"] == load_log("simulated/source").fingerprint()
    assert {"validation", "test"} <= result["metrics"].keys()
    assert {f"{m}@{k}" for m in ("hr", "mrr", "ndcg") for k in (5, 10, 20)} <= (
        result["metrics"]["test"].keys()
    )
    host = Host.load(host_folder)
    assert result["parameters"]["host"] == host.backbone.count_params()


@pytest.mark.parametrize(
    ("given", "channels", "said"),
    [
        ({}, 8, f"a network of 8 channels (--size auto: {SUITED}, large)"),
        ({"size": "small"}, 4, "a network of 4 channels (--size small)"),
        ({"hidden_dim": 6}, 6, ""),
    ],
)
def test_the_size_is_what_suits_the_log_or_is_asked_for(
    given, channels, said, tmp_path, monkeypatch, capsys
):
    sizes = {"small": 4, "base": 6, "large": 8}
    for name, value in ({"LARGE_FROM": 6_000, "LARGE_FROM_EACH": 40, "CHANNELS": sizes}).items():
        monkeypatch.setattr(f"keras_peterrec.network.sizes.{name}", value)
    quick = {"blocks": 1, "max_length": 20, "epochs": 1, "linear": False, "baselines": False}
    result = pretrain("simulated/source", tmp_path / "host", final=True, **quick, **given)
    lines = [line for line in capsys.readouterr().err.splitlines() if "channels" in line]
    assert lines == ([said] if said else [])
    assert result["hidden_dim"] == Host.load(tmp_path / "host").backbone.hidden_dim == channels


@pytest.mark.parametrize("given", [{}, {"dropout": 0.2}])
def test_dropout_is_what_suits_the_log_or_is_asked_for(given, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("keras_peterrec.network.sizes.SPARSE_BELOW", 10_000)
    quick = {"hidden_dim": 4, "blocks": 1, "max_length": 20, "epochs": 1, "linear": False}
    result = pretrain("simulated/source", tmp_path / "host", baselines=False, **quick, **given)
    rate = given.get("dropout", 0.5)
    assert result["dropout"] == Host.load(tmp_path / "host").backbone.dropout == rate
    assert ("dropout of 0.5 (--dropout)" in capsys.readouterr().err) == (not given)


def test_tensorboard_shows_scalars_and_the_graph(host_folder):
    tags = {}
    for part in ("train", "validation"):
        events = EventAccumulator(str(host_folder / "logs" / part)).Reload()
        tags[part] = events.Tags()
    assert "epoch_loss" in tags["train"]["tensors"]
    assert "epoch_ndcg@10" in tags["validation"]["tensors"]
    assert tags["train"]["graph"]


def test_finished_run_is_not_trained_again(host_folder):
    before = (host_folder / "weights.npz").stat().st_mtime_ns
    again = pretrain("simulated/source", host_folder, epochs=2, **SMALL)
    assert again == json.loads((host_folder / "metrics.json").read_text())
    assert (host_folder / "weights.npz").stat().st_mtime_ns == before


def test_other_settings_are_refused_and_nothing_is_written_over(host_folder):
    before = {file: file.read_bytes() for file in host_folder.glob("*.*") if file.is_file()}
    with pytest.raises(InputError, match="`hidden_dim` = 16 rather than 32"):
        pretrain("simulated/source", host_folder, epochs=2, **{**SMALL, "hidden_dim": 32})
    assert before == {file: file.read_bytes() for file in before}


def test_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="`out`.*already holds something else"):
        pretrain("simulated/source", tmp_path, **SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow  # test_full_disk.py sees it of the command, test_resumable_training.py of the end
def test_interrupted_run_goes_on_where_it_was(straight, tmp_path, interrupted, capsys):
    with interrupted(epoch=1):
        pretrain("simulated/source", tmp_path / "host", epochs=3, **SMALLER)
    assert not (tmp_path / "host" / "metrics.json").exists()
    capsys.readouterr()
    result = pretrain("simulated/source", tmp_path / "host", epochs=3, **SMALLER)
    shown = capsys.readouterr().err
    assert "epoch  3/3" in shown and "epoch  2/3" not in shown
    _, straight, _ = straight
    assert result["epochs"] == straight["epochs"] == 3
    assert result.keys() == straight.keys()
    # Adam's state came back too: the loss goes on from where it was.
    assert result["metrics"]["test"]["ndcg@10"] == pytest.approx(
        straight["metrics"]["test"]["ndcg@10"], abs=0.02
    )


@pytest.mark.slow
def test_more_epochs_go_on_where_a_finished_run_has_ended(straight, tmp_path, capsys):
    _, whole, _ = straight
    arguments = {"linear": False, "baselines": False, **SMALLER}
    folder = tmp_path / "host"
    first = pretrain("simulated/source", folder, epochs=1, **arguments)
    assert first["epochs"] == 1 and first["stopped"] == "epochs"
    capsys.readouterr()
    more = pretrain("simulated/source", folder, epochs=3, **arguments)
    shown = capsys.readouterr().err
    assert "epoch  2/3" in shown and "epoch  1/" not in shown
    assert more["epochs"] == 3
    assert len(read_rows(folder)) == 3
    network = {**whole["metrics"]["validation"]}
    assert more["metrics"]["validation"].keys() == network.keys()


@pytest.mark.slow
def test_finish_ends_an_interrupted_run_and_a_running_one_with_what_is_best(
    tmp_path, interrupted, monkeypatch
):
    arguments = {"epochs": 50, "baselines": False, "steps_per_epoch": 10, **SMALLER}
    folder, on_epoch_end = tmp_path / "host", ProgressLines.on_epoch_end
    with pytest.raises(InputError, match="`finish` should be asked of a run that has begun"):
        pretrain("simulated/source", folder, finish=True, **arguments)

    def ask(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        if epoch == 2:
            ask_to_finish(folder)  # as another process does

    with interrupted(epoch=1):
        pretrain("simulated/source", folder, **arguments)
    shutil.copytree(folder, tmp_path / "interrupted")
    monkeypatch.setattr(ProgressLines, "on_epoch_end", ask)
    # In the middle of the fourth epoch, what was trained of it is measured as well.
    running = pretrain("simulated/source", folder, **arguments)
    ended = pretrain("simulated/source", tmp_path / "interrupted", finish=True, **arguments)
    assert (running["epochs"], ended["epochs"]) == (4, 2)
    for result, where in ((running, folder), (ended, tmp_path / "interrupted")):
        assert result["stopped"] == "finish" and "linear" in result
        assert json.loads((where / "metrics.json").read_text()) == result
        assert not (where / "state").exists() and not (where / "finish").exists()
        Host.load(where)


def test_best_epoch_is_what_is_saved_and_epochs_that_ran_out_are_said(straight):
    folder, result, shown = straight
    assert result["stopped"] == "epochs"
    said = "pretrain  val_ndcg@10 still improved when its epochs were over: more than 3 (--epochs)"
    assert said in shown
    host = Host.load(folder)
    log = load_log("simulated/source")
    asked = log.encode(host.vocabulary), 20, VALIDATION
    measured = NextItemEvaluation(*asked, fields=host.fields).measure(host.pretrainer)
    assert measured["ndcg@10"] == pytest.approx(result["metrics"]["validation"]["ndcg@10"])


def test_what_each_part_adds_is_said(straight):
    _, result, shown = straight
    parts = result["parts"]
    assert parts["linear part alone"]["ndcg@10"] > 2 * result["baseline"]["test"]["ndcg@10"]
    both = result["metrics"]["test"]["ndcg@10"]
    for part, other in (("network", "linear part"), ("linear part", "network")):
        alone = parts[f"{other} alone"]["ndcg@10"]
        assert parts[f"{part} adds"] == pytest.approx(both / alone - 1, abs=1e-3)
    assert f"ndcg@10 {both:.4f} on test: the network adds " in shown


@pytest.mark.slow
def test_the_network_alone_is_watched_over_the_items_that_are_answered(tmp_path):
    shop = read_log(simulate_shop(users=100, items=40), events="view")
    sequences = PretrainingLog.of(shop, 1, "last").sequences
    for linear in (True, False):
        folder = tmp_path / str(linear)
        settings = {"linear": linear, "baselines": False, **SMALLER}
        result = pretrain(shop, folder, epochs=1, keep_seen=True, **settings)
        host = Host.load(folder)
        assert host.keep_seen and result["data"]["keep_seen"]
        host.pretrainer.linear = None
        asked = sequences, 20, VALIDATION, True
        watched = NextItemEvaluation(*asked, fields=host.fields)
        alone = watched.measure(host.pretrainer)["ndcg@10"]
        assert float(read_rows(folder)[0]["val_ndcg@10"]) == pytest.approx(alone, abs=1e-5)


def test_the_linear_part_stands_beside_the_same_network(straight, tmp_path, monkeypatch):
    folder, both, _ = straight
    more = {"linear": False, "baselines": False}
    # Where it is neither used nor a baseline, nothing is fitted.
    with monkeypatch.context() as nothing:
        nothing.setattr(host_linear, "ItemRegression", None)
        alone = pretrain("simulated/source", tmp_path / "alone", epochs=3, **more, **SMALLER)
    names = ["popularity", "last item and successors", "SLIT", "EASE"]
    assert [found["name"] for found in both["baselines"]] == names
    assert alone["baselines"] == [alone["baseline"]] and "linear" not in alone
    hosts = {"both": Host.load(folder), "alone": Host.load(tmp_path / "alone")}
    # It chooses the best epoch, and changes nothing of how the network is trained.
    losses = [[row["loss"] for row in read_rows(run)] for run in (folder, tmp_path / "alone")]
    assert losses[0] == losses[1] and len(losses[0]) == 3
    assert both["linear"]["weight"] > 0 and hosts["alone"].pretrainer.linear is None
    for part in ("trainable", "host"):
        assert both["parameters"][part] == alone["parameters"][part]
    assert both["parameters"]["total"] == alone["parameters"]["total"] + (
        hosts["both"].pretrainer.linear.count_params()
    )
    for found in (alone["metrics"], {"test": both["baselines"][2]["test"]}):
        for part, metrics in found.items():
            assert both["metrics"][part]["ndcg@10"] >= metrics["ndcg@10"] - 0.01
    # What is measured is what the host answers: the last of 40 events, unknown items left out.
    log = load_log("simulated/source")
    host, sequences = hosts["both"], log.encode(hosts["both"].vocabulary)
    starts, stops, targets = sequences.held_out(TEST)
    histories = np.zeros((len(starts), host.next_item_length), "int32")
    for row, (start, stop) in enumerate(zip(starts, stops)):
        events = sequences.items[start:stop]
        known = events[events >= FIRST_ITEM][-host.next_item_length :]
        histories[row, len(histories[row]) - len(known) :] = known
    scores = np.array(host.next_item_scores(histories))
    assert host.keep_seen is both["data"]["keep_seen"] is False
    for row, (start, stop) in enumerate(zip(starts, stops)):
        events = sequences.items[start:stop]
        scores[row, events[events >= FIRST_ITEM] - FIRST_ITEM] = -np.inf
    of_targets = scores[np.arange(len(targets)), np.maximum(targets - FIRST_ITEM, 0)]
    hits = ((scores >= of_targets[:, None]).sum(axis=1) <= 10) & (targets >= FIRST_ITEM)
    hits &= np.isfinite(of_targets)
    assert both["metrics"]["test"]["hr@10"] == pytest.approx(hits.mean(), abs=2e-3)


def test_later_items_are_asked_for_unless_the_rate_is_zero():
    """Ten users walk up the same items, so that a target says how far ahead it lies."""
    log = Events.from_columns(
        np.repeat(range(10), 30), np.tile(range(30), 10), np.tile(range(30), 10)
    )
    ahead = {}
    for given in ({}, {"later_rate": 0.0}):
        settings = PretrainSettings(log, "unused", unknown_rate=0.0, hidden_dim=8, **given)
        settings = settings.sized(0, 0)
        read = PretrainingLog.of(log, 1)
        place = np.array([0] * FIRST_ITEM + [int(item) for item in read.vocabulary.items])
        batches = training_batches(new_pretrainer(settings, len(read.vocabulary)), read, settings)
        pairs = [np.stack([place[h], place[t]])[:, t > 0] for h, t in batches.as_numpy_iterator()]
        history, targets = np.concatenate(pairs, axis=1)
        ahead[settings.later_rate] = set((targets - history).tolist())
    assert ahead == {0.5: {1, 2, 3, 4}, 0.0: {1}}


def test_held_out_events_do_not_count_as_training():
    users = ["a"] * 4 + ["b"] * 2
    items = ["x", "y", "test_only", "x", "x", "z"]
    log = Events.from_columns(users, items, [1, 2, 3, 4, 1, 2])
    sequences, vocabulary, counts = encode_log(log)
    by_item = dict(zip(vocabulary.items, counts))
    # a's last two events are held out; b has too few to hold any out.
    assert by_item == {"x": 2, "y": 1, "z": 1}
    assert sequences[0].tolist() == [FIRST_ITEM, FIRST_ITEM + 1, 1, FIRST_ITEM]


def test_items_that_only_held_out_events_have_are_counted_and_said(straight, tmp_path, capsys):
    walks = [[f"i{(user + n) % 10}" for n in range(6)] for user in range(30)]
    walks[0][-1], walks[1][-2] = "new", "newer"
    users, times = np.repeat(np.arange(30), 6), np.tile(np.arange(6), 30)
    log = Events.from_columns(users, np.concatenate(walks), times)
    result = pretrain(log, tmp_path / "host", epochs=1, **SMALLER)
    assert result["data"]["items"] == 12 and result["data"]["items_only_held_out"] == 2
    assert "2 of 12 items are unknown to the host" in capsys.readouterr().err
    assert not {"new", "newer"} & set(Host.load(tmp_path / "host").vocabulary.items)
    _, result, said = straight
    assert result["data"]["items_only_held_out"] == 0 and "unknown to the host" not in said


def test_rare_items_are_unknown_and_do_not_count_for_the_size(tmp_path, capsys):
    """30 users of ten common items each, and of one that nobody else has."""
    items = np.array([[f"i{(user + n) % 12}" for n in range(10)] for user in range(30)], object)
    items[:, 4] = [f"rare{user}" for user in range(30)]
    users, times = np.repeat(np.arange(30), 10), np.tile(np.arange(10), 30)
    log = Events.from_columns(users, items.reshape(-1), times)
    pretrain(log, tmp_path / "host", epochs=1, min_count=5, **SMALLER | {"hidden_dim": None})
    said = capsys.readouterr().err
    assert "(--size auto: as suits 210 training events of 12 items, base)" in said
    assert (
        "30 of 42 items, with 12.5 % of what is trained on, are unknown to the host: training has "
        "fewer than 5 events of each"
    ) in said


def test_masked_objective_trains(tmp_path):
    result = pretrain(
        "simulated/source",
        tmp_path / "host",
        objective="masked",
        epochs=1,
        baselines=False,
        **SMALLER,
    )
    assert Host.load(tmp_path / "host").objective == "masked"
    assert np.isfinite(list(result["metrics"]["test"].values())).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_dim": 0}, "`hidden_dim` should be a positive integer"),
        ({"blocks": -1}, "`blocks` should be a positive integer"),
        ({"epochs": 0}, "`epochs` should be a positive integer"),
        ({"dropout": 1.0}, "`dropout` should be a rate"),
        ({"seed": -1}, "`seed` should be an integer from 0 to 4294967295"),
        ({"seed": 2**32}, "`seed` should be an integer from 0 to 4294967295"),
        ({"learning_rate": 0.0}, "`learning_rate` should be a positive number"),
        ({"objective": "masked", "max_length": 1}, "`max_length` should be at least 2"),
        ({"objective": "masked", "unknown_rate": 0.5}, "`unknown_rate` should be left out"),
        ({"objective": "bert"}, "`objective` should be one of causal, masked"),
        ({"min_count": 10**6}, "`min_count` should leave at least one item"),
    ],
)
def test_bad_settings_are_one_clear_line(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        pretrain("simulated/source", tmp_path / "host", **{**SMALL, **arguments})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "host").exists()


def test_users_with_too_few_events_are_refused(tmp_path):
    log = Events.from_columns(["a", "a", "a", "b"], ["x", "y", "z", "y"], [1, 2, 3, 2])
    with pytest.raises(InputError, match="`log` should have a user with at least four events"):
        pretrain(log, tmp_path / "host")
