"""An experiment on a log of one's own, as it is and prepared."""

import pytest
from commands import run_here
from prepared_samples import sample_columns

from keras_peterrec.experiments.engine import experiment
from keras_peterrec.experiments.plans import PLANS, Plan, Row
from keras_peterrec.runs.prepare import prepare

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


def test_a_log_and_the_same_prepared_give_the_same_tables(files, tmp_path, here, monkeypatch):
    monkeypatch.setitem(PLANS, "tiny", Plan("tiny", "Small", ROWS, ("comparison",), "nothing"))
    tasks = {
        "target": [f"shop={files / 'films.csv'}"],
        "labels": str(files / "users.csv"),
        "column": ["letter", "price=regression"],
    }
    found = [
        experiment("tiny", log=str(files / name), out=tmp_path / name, **tasks, **SMALL)
        for name in ("clicks.csv", "prepared")
    ]
    assert found[0]["settings"]["tasks"] == ["shop", "letter", "price"]
    cells = [[{**cell, "seconds": 0} for cell in result["table"]] for result in found]
    assert cells[0] == cells[1] and len(found[0]["runs"]) == 6
    assert "own data" in found[1]["notes"][0]


def test_a_target_is_called_after_its_file(files, tmp_path, here, monkeypatch):
    monkeypatch.setitem(PLANS, "tiny", Plan("tiny", "Small", ROWS[:1], ("comparison",), "nothing"))
    given = {"log": str(files / "prepared"), "target": [str(files / "films.csv")]}
    assert experiment("tiny", out=tmp_path, **given, **SMALL)["settings"]["tasks"] == ["films"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "films.csv"], "`target` should be left out without `log`"),
        (["--log", "clicks.csv"], "should name a task with `log`"),
        (["--log", "clicks.csv", "--dataset", "amazon"], "`dataset` should be left out with `log`"),
        (["--log", "clicks.csv", "--labels", "users.csv"], "should be given together"),
        (["--log", "clicks.csv", "--target", "a/b=films.csv"], "name tasks differently"),
        (["--log", "clicks.csv", "--target", "films.csv", "films=films.csv"], "tasks differently"),
        (["--log", "prepared", "--target", "none.csv"], "none.csv"),
        (["--log", "clicks.csv", "--labels", "users.csv", "--column", "age"], "age"),
    ],
)
def test_mistakes_are_one_clear_line(files, monkeypatch, words, message):
    monkeypatch.chdir(files)
    done = run_here("experiment", "strategies", *words)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (files / "runs").exists()
