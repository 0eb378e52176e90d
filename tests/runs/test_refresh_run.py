"""Refreshing a host: what stays, what is added, and what its tasks say."""

import json

import numpy as np
import pytest
from simulated_tasks import NEW, next_days

from keras_peterrec.errors import InputError
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.report.gather import find_runs, gather
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.inspect import inspect
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.task import Task

QUICK = {"epochs": 2, "learning_rate": 5e-3, "baselines": False}


@pytest.fixture(scope="module")
def kept(host_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "host"
    # Without the linear part, which is so much better here that training may end where it began.
    refresh(host_folder, next_days(), folder, keep_host_items=True, linear=False, **QUICK)
    return folder


def test_old_items_keep_their_ids_and_new_ones_follow(host_folder, refreshed_host):
    before, after = Host.load(host_folder), Host.load(refreshed_host)
    known = len(before.vocabulary.items)
    assert after.vocabulary.items[:known].tolist() == before.vocabulary.items.tolist()
    assert set(after.vocabulary.items[known:]) == set(NEW)
    assert after.origin["parent"] == before.fingerprint() and not after.compatible_with
    result = json.loads((refreshed_host / "metrics.json").read_text())
    assert result["parent"] == before.fingerprint() and result["data"]["new_items"] == 3


def test_new_events_alone_are_told_by_their_number_and_by_how_many_a_user_has(
    host_folder, tmp_path, monkeypatch, capsys
):
    def stop(*_):
        raise KeyboardInterrupt  # what follows is training

    monkeypatch.setattr("keras_peterrec.runs.refresh.GrownHost.begin", stop)
    whole = next_days()
    fifth = whole.select(np.arange(len(whole)) % 5 == 0)
    # A week's users are the busy ones: each may have as many events as users usually have.
    few_users = whole.select(whole.users < len(whole.user_ids) // 4)
    for log, told in ((whole, False), (fifth, True), (few_users, True)):
        with pytest.raises(KeyboardInterrupt):
            refresh(host_folder, log, tmp_path / str(len(log)), **QUICK)
        said = [s for s in capsys.readouterr().err.splitlines() if "all events until now" in s]
        assert len(said) == told
        if told:
            assert f"{len(log):,} events of {len(log.user_ids):,} users" in said[0]
            assert "the host was trained on" in said[0]


def test_a_report_has_it_and_says_how_to_make_it_again(refreshed_host):
    [run] = find_runs(refreshed_host)
    found = gather(run)
    assert found["command"] == "refresh" and found["kind"] is None
    words = [line.split()[1] for line in found["commands"]]
    assert words == ["pretrain", "refresh"]


def test_it_is_better_than_the_host_as_it_was(refreshed_host):
    result = json.loads((refreshed_host / "metrics.json").read_text())
    baselines = {found["name"]: found["test"] for found in result["baselines"]}
    assert result["metrics"]["test"]["ndcg@10"] > baselines["host before"]["ndcg@10"]
    expected = pytest.approx(result["metrics"]["test"]["ndcg@10"])
    assert evaluate(refreshed_host, log=next_days())["metrics"]["test"]["ndcg@10"] == expected


def test_frozen_weights_stay_bit_for_bit_and_new_rows_are_trained(
    host_folder, kept, refreshed_host
):
    before, after = Host.load(host_folder), Host.load(kept)
    known = len(before.vocabulary.items)
    old, new = before.backbone.named_weights(), after.backbone.named_weights()
    for path in old:
        rows = len(np.asarray(old[path]))
        np.testing.assert_array_equal(np.asarray(old[path]), np.asarray(new[path])[:rows], path)
    one, other = (np.asarray(h.pretrainer.output_table.embeddings) for h in (before, after))
    np.testing.assert_array_equal(one, other[:known])
    assert sum(json.loads((kept / "metrics.json").read_text())["best_path"]) > 0
    assert after.compatible_with == {before.fingerprint(): known}
    # Without `keep_host_items` all moves, if an epoch was better than the start.
    moved = Host.load(refreshed_host).backbone.named_weights()
    stayed = np.array_equal(np.asarray(moved["final_norm/gamma"]), old["final_norm/gamma"])
    epochs = sum(json.loads((refreshed_host / "metrics.json").read_text())["best_path"])
    assert stayed == (epochs == 0)


@pytest.mark.parametrize("task", ["shop", "gender"])
def test_old_bundles_answer_bit_for_bit(task, host_folder, task_folder, label_folders, kept):
    folder = {"shop": task_folder, **label_folders}[task]
    histories = np.array([[0, 0, 5, 9, 12], [0, 0, 0, 0, 0], [4, 4, 7, 20, 33]])
    before = Task.load(folder, Host.load(host_folder))
    after = Task.load(folder, Host.load(kept))
    assert before.model.linear is not None
    assert before.scores(histories).tobytes() == after.scores(histories).tobytes()
    # With new items in the history it answers as well.
    new = FIRST_ITEM + len(Host.load(host_folder).vocabulary.items)
    assert np.isfinite(after.scores(np.array([[0, 4, new, new + 2]]))).all()


def test_old_bundles_mix_on_the_new_host(host_folder, task_folder, kept):
    histories, place = np.array([[0, 0, 5, 9, 12], [4, 4, 7, 20, 33]]), np.array([0, 0])
    users = [
        np.asarray(MixedTasks.load([task_folder], host)({"history": histories, "place": place}))
        for host in (Host.load(host_folder), Host.load(kept))
    ]
    np.testing.assert_array_equal(*users)


def test_tasks_of_the_old_host_are_listed_and_those_of_another_refused(
    host_folder, task_folder, refreshed_host, kept
):
    (kept.parent / "shop").symlink_to(task_folder)
    assert [found["task"] for found in inspect(kept)["tasks"]] == ["shop"]
    with pytest.raises(InputError, match="should be a bundle for the host") as caught:
        Task.load(task_folder, Host.load(refreshed_host))
    for folder in (refreshed_host, task_folder, host_folder):
        assert str(folder) in str(caught.value)
    assert f"transfer --from {task_folder}" in str(caught.value)


def test_a_changed_old_part_is_refused(kept, tmp_path):
    host = Host.load(kept)
    host.backbone.final_norm.gamma.assign(host.backbone.final_norm.gamma + 1e-6)
    host.save(tmp_path)
    with pytest.raises(InputError, match="should have the fingerprint"):
        Host.load(tmp_path)


@pytest.mark.slow
def test_an_interrupted_refresh_goes_on_where_it_was(
    host_folder, refreshed_host, tmp_path, interrupted
):
    with interrupted():
        refresh(host_folder, next_days(), tmp_path / "host", **QUICK)
    refresh(host_folder, next_days(), tmp_path / "host", **QUICK)
    whole, again = (np.load(f / "weights.npz") for f in (refreshed_host, tmp_path / "host"))
    for path in whole.files:
        np.testing.assert_array_equal(whole[path], again[path], err_msg=path)


@pytest.mark.slow
def test_a_refreshed_host_can_be_final_and_refreshed_host_again(refreshed_host, tmp_path):
    names = [*load_log("simulated/source").item_ids, *NEW]
    items = {"item_id": names, "words": [f"group{n % 5}" for n in range(len(names))]}
    quick = {**QUICK, "epochs": 1, "items": items}
    result = refresh(refreshed_host, next_days(), tmp_path / "next", final=True, **quick)
    assert result["final"]["items"] == len(Host.load(refreshed_host).vocabulary.items)
    host = Host.load(tmp_path / "next")
    assert host.origin["final"] and host.origin["parent"] == Host.load(refreshed_host).fingerprint()


def test_nothing_to_train_is_refused(host_folder, tmp_path):
    with pytest.raises(InputError, match="`keep_host_items` should be left out where the log has"):
        refresh(host_folder, "simulated/source", tmp_path / "host", keep_host_items=True)
    assert not (tmp_path / "host").exists()


@pytest.mark.slow
def test_a_large_vocabulary_draws_by_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_peterrec.models.pretrainer.FULL_SOFTMAX_UP_TO", 5)
    log, days = load_log("simulated/source"), next_days()
    some, days = log.select(log.users < 60), days.select(days.users < 60)
    small = {"hidden_dim": 8, "blocks": 1, "epochs": 1, "baselines": False, "linear": False}
    pretrain(some, tmp_path / "host", **small)
    quick = {"epochs": 1, "linear": False, "baselines": False}
    refresh(tmp_path / "host", days, tmp_path / "next", **quick)
    pretrainer = Host.load(tmp_path / "next").pretrainer
    assert pretrainer.sampler == "counts"
    counts = dict(zip(Host.load(tmp_path / "next").vocabulary.items, pretrainer.counts))
    held_out = np.isin(days.item_ids[days.items], NEW).sum()
    assert 0 < sum(int(counts[new]) for new in NEW) <= held_out
