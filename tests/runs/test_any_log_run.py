"""A log of one's own: other column names, dates, kinds of event, weights, ids with white space."""

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from commands import run_here

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.id_text import written
from keras_peterrec.log.sources.simulated import Simulated
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.transfer.host import Host

COLUMNS = {"user_id": "member", "item_id": "place", "timestamp": "when", "event_type": "what"}
TINY = {"epochs": 1, "linear": False, "baselines": False}
NETWORK = {**TINY, "hidden_dim": 8, "blocks": 1, "max_length": 10}


def table_of(log, kind):
    dates = [datetime.fromtimestamp(int(t), UTC).isoformat() for t in log.timestamps]
    return {
        "member": log.user_ids[log.users].tolist(),
        "place": [f"in {item}" for item in log.item_ids[log.items]],
        "when": dates,
        "what": [kind] * len(log),
        "worth": (1.0 + log.items % 3).tolist(),
    }


@pytest.fixture(scope="module")
def table():
    """Views and buys in one table."""
    simulated = Simulated(users=160, items=60, events=12)
    parts = [table_of(simulated.domain(n), k) for n, k in (("source", "view"), ("target", "buy"))]
    return pa.table({name: parts[0][name] + parts[1][name] for name in parts[0]})


@pytest.fixture(scope="module")
def host(table, tmp_path_factory):
    """The folder of a host of what was viewed, and what its run found."""
    folder = tmp_path_factory.mktemp("own")
    read = {"columns": COLUMNS, "weight_column": "worth"}
    return folder, pretrain(table, folder / "host", events="view", **read, **NETWORK)


@pytest.fixture(scope="module")
def runs(table, host):
    folder, found = host
    read = {"columns": COLUMNS, "weight_column": "worth"}
    read |= {"events": ["view"], "target_events": "buy"}
    films = transfer(
        folder / "host", table, folder / "films", target=table, method="head", **read, **TINY
    )
    return folder, {"host": found, "films": films}


@pytest.mark.slow
@pytest.mark.usefixtures("unasked")
def test_a_table_becomes_a_served_answer(runs, table):
    folder, found = runs
    settings = json.loads((folder / "host" / "run.json").read_text())["settings"]
    assert settings["log"] == "Table" and settings["columns"] == COLUMNS
    assert found["host"]["data"]["items"] == 60
    again = evaluate(folder / "films", log=table, target=table)
    assert again["metrics"]["test"] == found["films"]["metrics"]["test"]
    export_runs(host=folder / "host", task=[folder / "films"], out=folder / "export" / "1")
    asked = " ".join(written(f"in s{n}") for n in range(3))
    answer = ExportedModel(folder / "export" / "1").predict("films", [asked])
    assert all(item.startswith("in t") for item in answer["items"][0])


@pytest.mark.slow
def test_the_same_data_under_other_names_is_the_same_run(runs, table, capsys):
    folder, found = runs
    plain = {there: name for name, there in COLUMNS.items()}
    renamed = table.rename_columns([plain.get(n, n) for n in table.column_names])
    again = pretrain(renamed, folder / "host", events="view", weight_column="worth", **NETWORK)
    assert again == found["host"] and "already finished" in capsys.readouterr().err
    with pytest.raises(InputError, match="new folder or that of the same run"):
        pretrain(renamed, folder / "host", events="view", **NETWORK)  # without weights


@pytest.mark.slow
def test_weights_teach_what_is_worth_more(tmp_path):
    """Two items follow every history equally often; the one of more weight is learned."""
    users = np.repeat(np.arange(60), 8)
    items = np.tile(["a", "b", "c", "d", "e", "f", "g", "h"], 60).astype(object)
    items[7::8] = np.where(np.arange(60) % 2, "left", "right")
    items[6::8] = items[7::8]
    items[5::8] = items[7::8]
    worth = {"left": 1.0, "right": 20.0}
    weights = [worth.get(item, 1.0) for item in items]
    log = Events.from_columns(users, items, np.tile(np.arange(8), 60), weights=weights)
    found = []
    for n, given in enumerate((log, Events.from_columns(users, items, log.timestamps))):
        settings = {
            **NETWORK,
            "keep_seen": True,
            "epochs": 6,
            "unknown_rate": 0.0,
            "later_rate": 0.0,
            "dropout": 0.0,
        }
        pretrain(given, tmp_path / str(n), learning_rate=0.02, **settings)
        host = Host.load(tmp_path / str(n))
        [scores] = np.asarray(host.next_item_scores(host.vocabulary.encode(list("abcde"))[None]))
        place = {item: m for m, item in enumerate(host.vocabulary.items)}
        found.append(scores[place["right"]] - scores[place["left"]])
    assert found[0] > 0.4 and found[0] > found[1] + 0.4


def test_commands_take_several_files_and_say_what_is_doubtful(host, table, tmp_path):
    folder, _ = host
    for n, part in enumerate((table.slice(0, 900), table.slice(900))):
        options = pa.csv.WriteOptions(delimiter=";")
        pa.csv.write_csv(part, tmp_path / f"part{n}.csv", options)
    columns = ",".join(f"{name}={there}" for name, there in COLUMNS.items())
    files = [str(tmp_path / f"part{n}.csv") for n in range(2)]
    read = ["--columns", columns, "--events", "view", "--json"]
    small = ["--epochs", 1, "--no-linear", "--no-baselines", "--method", "head"]
    task = ["transfer", "--host", folder / "host", "--out", tmp_path / "task", *small]
    done = run_here(
        *task, "--log", *files, "--target", tmp_path / "part*.csv", "--target-events", "buy", *read
    )
    assert done.returncode == 0, done.stderr
    assert f"reading {files[0]} and 1 more ... " in done.stderr
    assert "not read: worth" in done.stderr
    data = json.loads(done.stdout)["data"]
    assert data["fingerprint"][0] != data["fingerprint"][1]  # other events of the same files
    few = tmp_path / "few.csv"
    rows = [f"u{n},in t{n % 4},{1_600_000_000 + n}" for n in range(30)]
    few.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    done = run_here(
        *task[: -len(small) - 1], tmp_path / "few", *small, "--log", *files, "--target", few, *read
    )
    assert done.returncode == 0, done.stderr
    assert "training rows, a handful" in done.stderr
    assert "the test metrics rest on" in done.stderr
    (tmp_path / "strange.csv").write_text(few.read_text().replace("in t", "x"))
    done = run_here(*task, "--log", tmp_path / "strange.csv", "--target", few)
    assert done.returncode == 2
    assert "`log` should have items that the host knows, such as 'in s" in done.stderr
