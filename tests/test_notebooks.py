"""Every notebook runs, with small settings in its cell of parameters."""

import dataclasses
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from keras_peterrec.experiments.engine import experiment
from keras_peterrec.settings.plans import PLANS

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SMALL = """
DATA, TARGET, NUMBER = "simulated", "target", "spend"
HIDDEN_DIM, BLOCKS, MAX_LENGTH = 16, 2, 20
PRETRAIN_EPOCHS, TASK_EPOCHS = 2, 1
RUNS = {runs!r}
"""
OWN_LOG = """
USERS = 200
NETWORK = {{"hidden_dim": 8, "blocks": 1, "epochs": 1}}
EPOCHS = 1
RUNS = {runs!r}
"""
SHOP = """
DATA, UNTIL = "simulated/source", "2020-12-15"
NETWORK = {{"hidden_dim": 8, "blocks": 1, "max_length": 20, "epochs": 1}}
EPOCHS = 1
RUNS = {runs!r}
"""
MEDIA = """
DATA, CHANNELS, COLUMN = "simulated", ["target"], "gender"
NETWORK = {{"hidden_dim": 8, "blocks": 1, "max_length": 20, "epochs": 1}}
EPOCHS = 1
RUNS = {runs!r}
"""
APP = """
DATA, FIRST = {data!r}, 3
NETWORK = {{"hidden_dim": 8, "blocks": 1, "max_length": 20}}
EPOCHS = 1
RUNS = {runs!r}
"""
READ = """
EXPERIMENTS = {runs!r}
NAMES = ["pretraining", "insertions"]
"""


def made_up_sessions(path, sessions=300):
    """A CSV file as an app may have logged it: a tenth of the sessions is short, a third buys."""
    pages = ["home", "search", "product_view", "add_to_cart", "purchase", "home"]
    rows = ["user_id,session_id,event,timestamp,platform,acquisition_channel"]
    for number in range(sessions):
        visited = pages[:2] if number % 10 == 0 else pages[: 6 if number % 3 == 0 else 4]
        visit = f"{('desktop', 'mobile')[number % 2]},{('email', 'organic')[number % 5 == 0]}"
        who, day = f"user_{number // 4},sess_{number:04}", f"2024-03-{number % 28 + 1:02}"
        rows += [f"{who},{page},{day} 10:0{n}:00,{visit}" for n, page in enumerate(visited)]
    path.write_text("\n".join(rows) + "\n")
    return path


def executed(name, parameters, folder):
    """A notebook with other parameters, executed, and what it has printed."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    tagged[0].source = parameters
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return outputs, "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_quickstart_notebook_runs(tmp_path):
    small = SMALL.format(runs=str(tmp_path / "runs"))
    _, printed = executed("00_quickstart.ipynb", small, tmp_path)
    assert "history:" in printed and "profile:" in printed
    assert (tmp_path / "runs" / "export" / "peterrec" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_own_log_notebook_runs(tmp_path):
    small = OWN_LOG.format(runs=str(tmp_path / "runs"))
    _, printed = executed("02_your_own_log.ipynb", small, tmp_path)
    assert "not read: price" in printed
    answer = printed.partition("'price': 5}")[2]
    assert answer.count("  Article t") == 5 and "all of it took" in answer


@pytest.mark.slow
def test_shop_notebook_runs(tmp_path):
    outputs, printed = executed("04_shop.ipynb", SHOP.format(runs=str(tmp_path / "runs")), tmp_path)
    assert "customers" in printed and "spend in the next month: " in printed
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
def test_media_notebook_runs(tmp_path):
    small = MEDIA.format(runs=str(tmp_path / "runs"))
    outputs, printed = executed("05_media.ipynb", small, tmp_path)
    assert "views of channels: {'target': " in printed and "gender: " in printed
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.slow
def test_app_notebook_runs(tmp_path):
    data = made_up_sessions(tmp_path / "sessions.csv")
    small = APP.format(data=str(data), runs=str(tmp_path / "runs"))
    outputs, printed = executed("06_app.ipynb", small, tmp_path)
    assert "270 of 300 sessions, 33% buy later" in printed
    assert printed.count("  next: ") == printed.count("  buys: ") == 2
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (tmp_path / "runs" / "export" / "app" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_experiments_notebook_shows_what_the_command_wrote(tmp_path, monkeypatch):
    plan = PLANS["pretraining"]
    monkeypatch.setitem(PLANS, "pretraining", dataclasses.replace(plan, rows=plan.rows[:2]))
    experiment(
        "pretraining",
        "simulated",
        tasks=["gender"],
        seeds=2,
        epochs=1,
        hidden_dim=8,
        blocks=1,
        out=tmp_path / "pretraining",
    )
    outputs, printed = executed("01_experiments.ipynb", READ.format(runs=str(tmp_path)), tmp_path)
    assert "keras-peterrec experiment pretraining --dataset simulated --tasks gender" in printed
    assert "not here yet: keras-peterrec experiment insertions" in printed
    table = (tmp_path / "pretraining" / "table.md").read_text()
    assert table in [output.get("data", {}).get("text/markdown") for output in outputs]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 1  # the last of the experiment's, so that the notebook stays small


@pytest.mark.slow
def test_patches_notebook_runs(tmp_path):
    small = f"""
HIDDEN_DIM, BLOCKS, MAX_LENGTH = 8, 2, 10
PRETRAIN_EPOCHS, TASK_EPOCHS = 1, 1
RUNS = {str(tmp_path / "runs")!r}
"""
    _, printed = executed("03_patches.ipynb", small, tmp_path)
    assert "the host is as it was: True" in printed and "gain: log-loss" in printed
    assert (tmp_path / "runs" / "age-focal" / "task.json").is_file()


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_stored_outputs_are_there(path):
    """A reader sees results and pictures without running anything."""
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    pictures = [
        output
        for cell in cells
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    one = path.stem in ("02_your_own_log", "04_shop", "05_media", "06_app")
    assert len(pictures) >= (1 if one else 3)
    assert path.stat().st_size <= 200_000
    assert not any(o["output_type"] == "error" for cell in cells for o in cell["outputs"])
