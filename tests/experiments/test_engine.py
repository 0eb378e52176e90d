"""An experiment from the command to tables, plots and HParams, and started again."""

import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from keras_peterrec import cli
from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.experiments import engine
from keras_peterrec.experiments.datasets import Dataset, TaskSource, open_dataset
from keras_peterrec.experiments.engine import experiment
from keras_peterrec.experiments.runner import Runner
from keras_peterrec.log.sources import load_labels
from keras_peterrec.settings.plans import PLANS, Plan, Row

SMALL = {"hidden_dim": 8, "blocks": 1, "max_length": 16, "epochs": 1}
EVERY = ["shop", "spend"]  # other kinds have other baselines and metrics: see test_tables.py
SHOWN = {  # baselines of each task, and what the tables show of it
    "shop": (("popularity", "last item and successors", "ridge"), ("ndcg@10", "hr@10")),
    "gender": (("majority", "uniform", "logistic regression"), ("log_loss", "accuracy")),
    "spend": (("mean", "ridge"), ("rmse", "mae", "r2")),
    "topics": (("prior", "logistic regression"), ("log_loss", "macro_auc", "map")),
}
TINY = Plan(
    "tiny",
    "A small plan",
    (
        Row("linear", run="linear"),
        Row("MTL", run="multi_task"),
        Row("head alone", {"method": "head", "batch_size": 64}),
    ),
    ("curves", "comparison"),  # test_plots.py has the others
    "nothing",
)


@pytest.fixture(scope="module")
def plans():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLANS, "tiny", TINY)
        yield


@pytest.fixture(scope="module")
def out(plans, here, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiments") / "tiny"
    run(folder, tasks=EVERY)
    return folder


def run(folder, **settings):
    settings = {"tasks": ["shop", "gender"], "seeds": 1, **SMALL, **settings}
    return experiment("tiny", "simulated", out=folder, **settings)


def times(folder):
    files = [file for part in ("runs", "hosts") for file in (folder / part).rglob("*")]
    return {file: file.stat().st_mtime_ns for file in files}


def test_every_run_has_its_folder_and_is_in_the_table(out):
    result = json.loads((out / "metrics.json").read_text())
    assert result["settings"]["seeds"] == [0] and result["settings"]["name"] == "tiny"
    assert {(r["row"], r["task"]) for r in result["runs"]} == {
        (row.label, task) for row in TINY.rows for task in EVERY
    }
    for record in result["runs"]:
        metrics = json.loads((out / record["folder"] / "metrics.json").read_text())
        assert metrics["metrics"]["test"] == record["test"]
        assert np.isfinite(list(record["test"].values())).all()
    cells = {(cell["metric"], cell["row"], cell["task"]) for cell in result["table"]}
    for task in EVERY:
        baselines, metrics = SHOWN[task]
        for row in (*baselines, "linear", "MTL", "head alone"):
            for metric in metrics:
                assert (metric, row, task) in cells and (metric, row, "mean") in cells
    assert (out / "table.md").read_text().count("| linear |") == 5
    assert json.loads((out / "run.json").read_text())["settings"]["dataset"] == "simulated"


def test_differences_to_the_first_row_are_in_the_table(out):
    result = json.loads((out / "metrics.json").read_text())
    found = {(cell["task"], cell["row"]): cell for cell in result["differences"]}
    values = {(r["task"], r["row"]): r["test"][SHOWN[r["task"]][1][0]] for r in result["runs"]}
    for task in EVERY:
        cell = found[task, "head alone"]
        expected = values[task, "head alone"] - values[task, "linear"]
        assert cell["difference"] == pytest.approx(expected, abs=1e-6)
        assert cell["low"] <= cell["difference"] <= cell["high"] and cell["reference"] == "linear"
        assert (task, "MTL") in found
    assert "## Differences" in (out / "table.md").read_text()
    assert (out / "differences.csv").read_text().count("\n") == 1 + len(result["differences"])


@pytest.mark.slow
def test_without_the_linear_part_tasks_are_runs_of_their_own(plans, here, tmp_path, monkeypatch):
    head = Row("head alone", {"method": "head", "batch_size": 64})
    monkeypatch.setitem(PLANS, "tiny", Plan("tiny", "Head", (head, QUICK), (), "nothing"))
    shared = tmp_path / "shared"
    arguments = {"tasks": ["gender"], "shared": shared}
    assert {r["row"] for r in run(tmp_path / "with", rows=["linear"], **arguments)["runs"]} == {
        "linear"
    }
    run(tmp_path / "with", **arguments)
    before = {file: time for file, time in times(shared).items() if file.is_file()}
    result = run(tmp_path / "without", linear=False, **arguments)
    assert before.items() <= times(shared).items()  # the host and the linear run are shared
    folders = {r["row"]: Path(r["folder"]).name for r in result["runs"]}
    assert folders == {"head alone": "head-batch-size-64-no-linear", "linear": "linear"}
    [task] = [tmp_path / "without" / r["folder"] for r in result["runs"] if r["row"] != "linear"]
    alone = json.loads((task / "metrics.json").read_text())
    assert alone["settings"]["linear"] is False and "linear" not in alone
    assert [found["name"] for found in alone["baselines"]] == [*SHOWN["gender"][0]]


def test_plots_are_pictures_for_print(out):
    import matplotlib.image

    result = json.loads((out / "metrics.json").read_text())
    assert result["plots"] == [f"{name}.png" for name in TINY.plots]
    for name in result["plots"]:
        picture = matplotlib.image.imread(out / name)
        assert picture.shape[0] > 300 and picture.std() > 0.01, name


def test_hparams_can_be_read(out):
    folders = [file.parent for file in (out / "logs").rglob("events*")]
    started = {}
    for folder in folders:
        summary = EventAccumulator(str(folder)).Reload().summary_metadata
        for tag, metadata in summary.items():
            if tag.endswith("session_start_info"):
                content = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
                started[str(folder.relative_to(out / "logs"))] = content.session_start_info
    result = json.loads((out / "metrics.json").read_text())
    assert len(started) == len(result["runs"]) == 6
    info = started["seed-0/shop/head-alone"]
    assert info.hparams["row"].string_value == "head alone"
    assert info.hparams["method"].string_value == "head"
    assert info.hparams["batch_size"].number_value == 64


def test_started_again_it_trains_nothing(out, here, capsys):
    before, result = times(out), json.loads((out / "metrics.json").read_text())
    assert run(out, tasks=EVERY) == result
    assert "already finished" in capsys.readouterr().err
    # Cut off before its last line: the runs are read, and the tables made anew.
    (out / "metrics.json").unlink()
    again = run(out, tasks=EVERY)
    assert (again["table"], again["runs"]) == (result["table"], result["runs"])
    assert times(out) == before
    assert "epoch" not in capsys.readouterr().err


@pytest.mark.slow
def test_more_seeds_are_added_to_what_is_there(plans, here, tmp_path):
    linear_alone = Plan("tiny", "Linear", TINY.rows[:1], ("comparison",), "nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLANS, "tiny", linear_alone)
        run(tmp_path / "out")
        before = times(tmp_path / "out")
        result = run(tmp_path / "out", seeds=3)
    assert before.items() <= times(tmp_path / "out").items()
    values = [r["test"]["ndcg@10"] for r in result["runs"] if r["task"] == "shop"]
    [cell] = [
        c
        for c in result["table"]
        if (c["row"], c["task"], c["metric"]) == ("linear", "shop", "ndcg@10")
    ]
    assert len(values) == cell["seeds"] == 3
    assert cell["sd"] == pytest.approx(np.std(values, ddof=1))


QUICK = Row("linear", run="linear")


def linear_rows(monkeypatch, *rows):
    monkeypatch.setitem(PLANS, "tiny", Plan("tiny", "Linear", rows, (), "nothing"))


def test_a_folder_of_another_run_ends_it(plans, here, tmp_path, monkeypatch):
    linear_rows(monkeypatch, QUICK)
    asked = {"tasks": ["gender"], "shared": tmp_path / "shared"}
    run(tmp_path / "one", **asked)
    [file] = (tmp_path / "shared").glob("runs/seed-0/gender/*/run.json")
    held = json.loads(file.read_text())
    held["settings"]["train_fraction"] = 0.5
    file.write_text(json.dumps(held))
    with pytest.raises(InputError, match="`out` should be a new folder or that of the same run"):
        run(tmp_path / "two", **asked)
    assert not (tmp_path / "two" / "metrics.json").exists()


def test_whole_histories_are_runs_of_their_own(plans, here, tmp_path, monkeypatch):
    linear_rows(monkeypatch, QUICK)
    shared = tmp_path / "shared"
    cut = run(tmp_path / "cut", shared=shared)
    whole = run(tmp_path / "whole", shared=shared, cut_history=False)
    shop, gender = (
        [r["test"] for result in (cut, whole) for r in result["runs"] if r["task"] == task]
        for task in ("shop", "gender")
    )
    assert shop[0] != shop[1] and gender[0] == gender[1]
    assert len(list((shared / "runs" / "seed-0").iterdir())) == 3  # labels have no clock


def test_what_is_left_out_is_said_and_tried_again(plans, here, tmp_path, monkeypatch, capsys):
    linear_rows(monkeypatch, QUICK, Row("few", {"train_fraction": 0.002}, run="linear"))
    result = run(tmp_path / "out", tasks=["gender"], seeds=2)
    cell = next(c for c in result["table"] if c["row"] == "few")
    [left] = result["left_out"]
    assert (left["row"], left["task"], cell["seeds"]) == ("few", "gender", 1)
    assert "should have enough users" in left["reason"]
    text = (tmp_path / "out" / "table.md").read_text()
    assert f"Left out: few, gender, of seed {left['seed']}: `labels` should have" in text
    assert "Over fewer seeds: few, gender: 1; few, mean: 1." in text
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == result
    capsys.readouterr()
    assert run(tmp_path / "out", tasks=["gender"], seeds=2) == result
    assert capsys.readouterr().err.count("left out: gender, few") == 1


def test_other_answers_under_the_same_path_are_another_result(here, tmp_path, monkeypatch):
    linear_rows(monkeypatch, QUICK)
    table = tmp_path / "users.csv"
    users = load_labels("simulated/users", "gender")
    rows = [f"{user},{value}" for user, value in zip(users.user_ids, users.values)]
    task = TaskSource("kind", "source", "simulated/source", labels=str(table), column="kind")
    dataset = Dataset("own", {"source": "simulated/source"}, (task,), 8, "made up")
    monkeypatch.setattr(engine, "open_dataset", lambda name, path: dataset)
    table.write_text("\n".join(["user_id,kind", *rows]) + "\n")
    run(tmp_path / "out", tasks=None)
    table.write_text("\n".join(["user_id,kind", *rows[:-1]]) + "\n")
    with pytest.raises(InputError, match="which holds a run with `data` = "):
        run(tmp_path / "out", tasks=None)


def test_a_run_of_several_tasks_is_called_after_them(tmp_path):
    asked = []

    class Worker:
        def call(self, function, **arguments):
            asked.append(arguments["out"])
            raise Misfit("too few")

    row = Row("MTL", run="multi_task")
    every = open_dataset("movielens-1m")
    for dataset in (
        every.only(["gender"]),
        every.only(["gender", "age"]),
        every.only(["action", "age"]),
        every.only(["action", "age"]).with_whole_histories(),
        every,
        every.with_whole_histories(),
    ):
        runner = Runner(dataset, tmp_path, tmp_path, {}, Worker())
        assert list(runner.results(row, 0)) == []
        assert [left["task"] for left in runner.left_out] == [t.name for t in dataset.tasks]
    assert len(set(asked)) == 6 and "gender-age" in str(asked[1])
    assert all(len(folder.parent.name) <= 60 for folder in asked)


def test_experiments_share_what_they_have_in_common(plans, here, tmp_path, capsys):
    def rows(*labels):
        return tuple(Row(label, run="linear") for label in labels)

    shared, folders = tmp_path / "shared", (tmp_path / "one", tmp_path / "two")
    results = []
    for folder, labels in zip(folders, (["linear"], ["regression"])):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(PLANS, "tiny", Plan("tiny", "Linear", rows(*labels), (), "nothing"))
            before = times(shared)
            results.append(run(folder, tasks=["gender"], shared=shared))
    assert before and times(shared) == before  # the second has run nothing
    one, two = ([record["test"] for record in result["runs"]] for result in results)
    assert one == two and not (folders[0] / "runs").exists()
    record = results[1]["runs"][0]
    assert (folders[1] / record["folder"] / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["magic"], "`name` should be one of pretraining, strategies"),
        (["strategies", "--dataset", "films"], "`dataset` should be one of movielens-100k"),
        (["strategies", "--dataset", "amazon"], "`path` should be the folder"),
        (["strategies", "--dataset", "simulated", "--tasks", "x"], "`tasks` should be among shop"),
        (["strategies", "--seeds", "0"], "`seeds` should be a positive integer"),
        (["strategies", "--epochs", "0"], "`epochs` should be a positive integer"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["experiment", *arguments, "--out", str(tmp_path / "out")])
    shown = capsys.readouterr()
    assert caught.value.code == 2 and shown.out == ""
    assert shown.err.startswith(f"keras-peterrec: error: {message}") and shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_json_is_all_that_stands_on_stdout(out, here, capsys):
    arguments = ["experiment", "tiny", "--dataset", "simulated", "--tasks", *EVERY]
    arguments += ["--seeds", "1", "--epochs", "1", "--hidden-dim", "8", "--blocks", "1"]
    cli.main([*arguments, "--max-length", "16", "--out", str(out), "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads((out / "metrics.json").read_text())
    cli.main([*arguments, "--max-length", "16", "--out", str(out)])
    shown = capsys.readouterr().out
    assert "popularity" in shown and "head alone" in shown
    told = " ".join(shown.split())
    assert "ndcg@10, difference to linear with its 95 % interval (more is better)" in told


def test_what_no_row_can_be_run_for_is_an_error(plans, here, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        row = Row("linear", {"train_fraction": 1e-6}, run="linear")
        patch.setitem(PLANS, "tiny", Plan("tiny", "Linear", (row,), (), "nothing"))
        with pytest.raises(InputError, match="should have enough users"):
            run(tmp_path / "out")
