"""`transfer --from`: a task goes on from its earlier patch and head, on a refreshed host."""

import numpy as np
import pytest
from simulated_tasks import GENDER, TARGET, next_days

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.sources import load_labels, load_log
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task

ALONE = {"baselines": False, "linear": False, "train_fraction": 0.1}
# Nothing is learned with it, and the start, which counts, is what is saved.
STILL = {"learning_rate": 1e-30, **ALONE}


def weights(folder):
    with np.load(folder / "weights.npz") as archive:
        return {path: archive[path] for path in archive.files}


def test_training_starts_with_the_old_patch_and_head(task_folder, refreshed_host, tmp_path):
    target = load_log("simulated/target")
    names = target.item_ids[target.items].astype(object)
    some = np.flatnonzero(target.items == 0)
    names[some[::2]] = "fresh"
    more = Events.from_columns(target.user_ids[target.users], names, target.timestamps)
    given = {"target": more, "epochs": 1}
    start = {"start": task_folder, **STILL}
    result = transfer(refreshed_host, next_days(), tmp_path / "next", **given, **start)
    assert result["best_epoch"] == 0 or result["epochs"] == 1
    old, new = weights(task_folder), weights(tmp_path / "next")
    host = Host.load(refreshed_host)
    for path in (path for path in old if not path.startswith(("linear/", "head/"))):
        rows = len(old[path])
        np.testing.assert_allclose(new[path][:rows], old[path], atol=1e-6, err_msg=path)
        assert not np.any(new[path][rows:])  # new items are as the host has them
    before = (task_folder / "targets.txt").read_text().split()
    task = Task.load(tmp_path / "next", host)
    after = task.kind.labels
    assert set(after) == {*before, "fresh"}
    place = {item: n for n, item in enumerate(after)}
    same = [place[item] for item in before]
    found = new["head/item_table"]
    np.testing.assert_allclose(found[same], old["head/item_table"], atol=1e-6)
    assert 0 < np.abs(found[place["fresh"]]).max() < 0.2


def test_classes_keep_what_was_known_of_them(label_folders, host_folder, tmp_path):
    first = label_folders["gender"]
    labels = load_labels("simulated/users", "gender")
    values = labels.values.copy()
    values[:40] = "new"
    other = Labels.from_columns(labels.user_ids, values, "gender")
    given = {"labels": other, "method": "head", "epochs": 1, **STILL}
    transfer(host_folder, "simulated/source", tmp_path / "next", start=first, **given)
    host = Host.load(host_folder)
    tasks = [Task.load(folder, host) for folder in (first, tmp_path / "next")]
    assert tasks[1].labels == ["F", "M", "new"]
    one, two = (np.asarray(task.model.head.kernel)[:, :2] for task in tasks)
    # But for how sure of it all the validation users want it to be.
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.999


def test_the_start_counts_and_is_not_made_worse(label_folders, host_folder, tmp_path):
    first, harmful = label_folders["gender"], {"method": "head", "learning_rate": 100.0, **ALONE}
    out, given = tmp_path / "task", {**GENDER, "start": first, **harmful}
    result = transfer(host_folder, "simulated/source", out, **given)
    assert result["best_epoch"] == 0
    old, new = (weights(folder)["head/kernel"].ravel() for folder in (first, out))
    assert np.corrcoef(old, new)[0, 1] > 0.999  # but for its calibration


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({**TARGET, "patch": "lora:4"}, r"`patch` should be left out with `start` \(--from\)"),
        ({**TARGET, "method": "head"}, r"`method` should be that of `start` \(--from\), patch"),
        (GENDER, "`start` should be a classification task. Received: .* a recommendation task"),
        ({**TARGET, "start": "nowhere"}, "`start` should be a folder with task.json"),
    ],
)
def test_what_does_not_go_on_is_refused(arguments, message, task_folder, host_folder, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        transfer(
            host_folder,
            "simulated/source",
            tmp_path / "task",
            **{"start": task_folder, **arguments},
        )
    assert "\n" not in str(caught.value)


def test_a_final_task_repeats_what_was_started_and_no_head(task_folder, host_folder, tmp_path):
    again = {**TARGET, "baselines": False, "linear": False, "start": task_folder, "final": True}
    result = transfer(host_folder, "simulated/source", tmp_path / "next", **again)
    assert "head" not in result
    assert result["final"]["epochs"] == sum(result["best_path"])
    assert not (tmp_path / "next" / "final" / "head").exists()
