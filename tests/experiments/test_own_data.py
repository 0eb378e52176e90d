"""An experiment on a log of one's own, as it is and prepared."""

import dataclasses

import pytest
from commands import run_here
from prepared_samples import sample_columns

from keras_peterrec.experiments.engine import experiment
from keras_peterrec.runs.prepare import prepare
from keras_peterrec.settings.plans import PLANS, Plan, Row

SMALL = {"hidden_dim": 8, "blocks": 1, "max_length": 8, "epochs": 1, "seeds": 1}
ROWS = (Row("linear", run="linear"), Row("FineCLS", {"method": "head"}))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A log, the same prepared, a target log, and a table of labels."""
    folder = tmp_path_factory.mktemp("own")
    head = "user_id,item_id,timestamp"
    rows = [",".join(map(str, row)) for row in zip(*sample_columns(events=1_500, users=60))]
    (folder / "clicks.csv").write_text("\n".join([head, *rows]))
    targets = [f"u{n % 60},t{n % 7},{20 + n % 20}" for n in range(180)]
    (folder / "films.csv").write_text("\n".join([head, *targets]))
    labels = [f"u{n},{'ab'[n % 2]},{n * 1.5}" for n in range(60)]
    (folder / "users.csv").write_text("\n".join(["user_id,letter,price", *labels]))
    prepare(str(folder / "clicks.csv"), folder / "prepared", shards=2)
    return folder


def other_names(files, folder):
    """The same files with other names of columns, and a log that has other events as well."""
    folder.mkdir()
    for name in ("clicks.csv", "films.csv", "users.csv"):
        text = (files / name).read_text()
        text = text.replace("user_id", "who").replace("item_id", "what").replace("timestamp", "at")
        (folder / name).write_text(text)
    head, *bought = (folder / "clicks.csv").read_text().splitlines()
    seen = [f"{line.split(',')[0]},seen{n % 9},{n % 50},view" for n, line in enumerate(bought)]
    lines = [f"{head},action", *(f"{line},buy" for line in bought), *seen]
    (folder / "clicks.csv").write_text("\n".join(lines))
    return folder


def compared(folder, log, out, **reading):
    """An experiment on the log and all tasks of a folder."""
    tasks = {
        "target": [f"shop={folder / 'films.csv'}"],
        "labels": str(folder / "users.csv"),
        "column": ["letter"],
    }
    return experiment("tiny", log=str(folder / log), out=out, **tasks, **reading, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [ROWS[:1], ROWS], ids=["linear", "linear and head"])
def test_one_log_in_any_form_gives_the_same_tables(files, tmp_path, here, monkeypatch, rows):
    """As it is, prepared, and with other names of columns among other events."""
    tiny = Plan("tiny", "Small", rows, ("comparison",), "nothing")
    monkeypatch.setitem(PLANS, "tiny", tiny)
    plain, prepared = (compared(files, log, tmp_path / log) for log in ("clicks.csv", "prepared"))
    # The joint network reads files itself; it would end without the names.
    more = dataclasses.replace(tiny, rows=(*rows, Row("MTL", run="multi_task")))
    monkeypatch.setitem(PLANS, "tiny", more)
    other, names = other_names(files, tmp_path / "other"), "user_id=who,item_id=what,timestamp=at"
    reading = {"columns": f"{names},event_type=action", "events": "buy"}
    renamed = compared(other, "clicks.csv", tmp_path / "renamed", **reading)
    assert plain["settings"]["tasks"] == ["shop", "letter"]
    runs = 2 * len(rows)
    assert [len(found["runs"]) for found in (plain, prepared, renamed)] == [runs, runs, runs + 2]
    cells = [cells_of(found) for found in (plain, prepared, renamed)]
    assert cells[0] == cells[1] == [cell for cell in cells[2] if cell["row"] != "MTL"]
    assert "own data" in prepared["notes"][0]


def cells_of(result):
    return [{**cell, "seconds": 0} for cell in result["table"]]


def test_a_target_is_called_after_its_file_and_a_column_may_name_its_kind(
    files, tmp_path, here, monkeypatch
):
    monkeypatch.setitem(PLANS, "tiny", Plan("tiny", "Small", ROWS[:1], ("comparison",), "nothing"))
    given = {"log": str(files / "prepared"), "target": [str(files / "films.csv")]}
    given |= {"labels": str(files / "users.csv"), "column": ["price=regression"]}
    found = experiment("tiny", out=tmp_path, **given, **SMALL)
    assert found["settings"]["tasks"] == ["films", "price"]
    assert {"rmse", "ndcg@10"} <= {cell["metric"] for cell in found["table"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "films.csv"], "`target` should be left out without `log`"),
        (["--log", "clicks.csv"], "should name a task with `log`"),
        (["--log", "clicks.csv", "--dataset", "amazon"], "`dataset` should be left out with `log`"),
        (["--log", "clicks.csv", "--labels", "users.csv"], "should be given together"),
        (["--log", "clicks.csv", "--target", "a/b=films.csv"], "name tasks differently"),
        (["--log", "clicks.csv", "--target", "films.csv", "films=films.csv"], "tasks differently"),
        (["--columns", "user_id=who"], "`columns` should be left out without `log`"),
        (["--log", "clicks.csv", "--target", "films.csv", "--events", "buy"], "event_type"),
        (["--log", "prepared", "--target", "none.csv"], "none.csv"),
        (["--log", "clicks.csv", "--labels", "users.csv", "--column", "age"], "age"),
    ],
)
def test_mistakes_are_one_clear_line(files, monkeypatch, words, message):
    monkeypatch.chdir(files)
    done = run_here("experiment", "strategies", *words)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (files / "runs").exists()
