"""What `evaluate` and `inspect` say of a finished run."""

import json
import shutil

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.sources import load_log
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.inspect import inspect


def test_evaluate_finds_what_transfer_wrote(task_folder, host_folder):
    written = json.loads((task_folder / "metrics.json").read_text())["metrics"]["test"]
    assert evaluate(task_folder)["metrics"]["test"] == pytest.approx(written, abs=1e-6)
    written = json.loads((host_folder / "metrics.json").read_text())["metrics"]["test"]
    found = evaluate(host_folder)
    assert found["metrics"]["test"] == pytest.approx(written, abs=1e-6)
    names = [baseline["name"] for baseline in found["baselines"]]
    assert names == ["popularity", "last item and successors"]
    written = json.loads((host_folder / "metrics.json").read_text())["baseline"]["test"]
    assert found["baselines"][0]["test"] == pytest.approx(written, abs=1e-6)


def test_unknown_items_in_the_log_change_no_metric_of_a_task(task_folder):
    log, rng = load_log("simulated/source"), np.random.default_rng(0)
    users, items = log.user_ids[log.users], log.item_ids[log.items]
    times = rng.choice(log.timestamps, 30 * len(log.user_ids))
    grown = Events.from_columns(
        [*users, *np.repeat(log.user_ids, 30)],
        [*items, *(f"new{n % 500}" for n in range(len(times)))],
        np.concatenate([log.timestamps, times]),
    )
    before, after = evaluate(task_folder), evaluate(task_folder, log=grown)
    wanted = pytest.approx(before["metrics"]["test"], abs=1e-9)
    assert after["metrics"]["test"] == wanted
    written = json.loads((task_folder / "metrics.json").read_text())["data"]["known_events"]
    assert written == before["data"]["known_events"] == 1.0
    assert after["data"]["known_events"] == pytest.approx(len(log) / len(grown), abs=1e-4)
    new = Events.from_columns(users, [f"new{n}" for n in log.items], log.timestamps)
    with pytest.raises(InputError, match="`log` should have items that the host knows"):
        evaluate(task_folder, log=new)


@pytest.mark.parametrize("name", ["target", "labels", "column", "host"])
def test_evaluate_refuses_what_it_would_not_read(name, task_folder, host_folder):
    with pytest.raises(InputError, match=f"`{name}` should be left out for a host. Received"):
        evaluate(host_folder, **{name: "nope.csv"})
    if name in ("labels", "column"):
        with pytest.raises(InputError, match="should be left out for a recommendation task"):
            evaluate(task_folder, **{name: "nope.csv"})


def test_an_evaluation_of_other_weights_or_data_is_another_one(host_folder, tmp_path):
    host, log = tmp_path / "host", tmp_path / "log.csv"
    shutil.copytree(host_folder, host)
    source = load_log("simulated/source")
    users, items = source.user_ids[source.users], source.item_ids[source.items]
    lines = [f"{u},{i},{t}" for u, i, t in zip(users, items, source.timestamps)]
    log.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    found = evaluate(host, log=log, out=tmp_path / "out")
    again = evaluate(host / ".." / "host", log=log, out=tmp_path / "out")
    assert again == found
    log.write_text("\n".join(["user_id,item_id,timestamp", *lines[:-1]]) + "\n")
    with pytest.raises(InputError, match="which holds a run with `data` = "):
        evaluate(host, log=log, out=tmp_path / "out")
    log.unlink()
    weights = dict(np.load(host / "weights.npz"))
    weights["output_table/embeddings"] += 1
    np.savez(host / "weights.npz", **weights)
    with pytest.raises(InputError, match="which holds a run with `data` = "):
        evaluate(host, log="simulated/source", out=tmp_path / "out")


def test_a_run_of_an_earlier_format_is_refused_in_one_line(task_folder, tmp_path):
    run = json.loads((task_folder / "run.json").read_text())
    for changed, message in (
        ({"format_version": 1}, "`run` should be of format version 2. Received: .*version 1."),
        (
            {"command": "linear"},
            "`run` should be the folder of a pretrain, refresh or transfer",
        ),
        ({"settings": {**run["settings"], "colour": 1}}, "`run` should hold settings that fit"),
    ):
        (tmp_path / "run.json").write_text(json.dumps({**run, **changed}))
        with pytest.raises(InputError, match=message) as caught:
            evaluate(tmp_path)
        assert "\n" not in str(caught.value)


def test_inspect_tells_the_kind_and_the_bytes(task_folder, host_folder):
    assert inspect(host_folder)["kind"] == "host" and "patches" not in inspect(host_folder)
    rows = inspect(host_folder, patches=True)["patches"]
    assert [row["merges"] for row in rows if row["patch"] == "ia3"] == [True]
    found = inspect(task_folder)
    assert found["kind"] == "task bundle"
    assert found["files"]["weights.npz"] == (task_folder / "weights.npz").stat().st_size
    with pytest.raises(InputError, match="`path` should be the folder of"):
        inspect(task_folder.parent)
    with pytest.raises(InputError, match="`path` should be the folder of a host with `patches`"):
        inspect(task_folder, patches=True)
