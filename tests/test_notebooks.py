"""Every notebook runs, with small settings in its cell of parameters."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SMALL = """
DATA, TARGET = "simulated", "target"
HIDDEN_DIM, BLOCKS, MAX_LENGTH = 16, 2, 20
PRETRAIN_EPOCHS, TASK_EPOCHS = 2, 1
RUNS = {runs!r}
"""


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    parameters = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1
    parameters[0].source = SMALL.format(runs=str(tmp_path / "runs"))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "history:" in printed and "profile:" in printed
    assert (tmp_path / "runs" / "export" / "peterrec" / "1" / "saved_model.pb").is_file()


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_stored_outputs_are_there(path):
    """A reader sees results and pictures without running anything."""
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    pictures = [
        output for cell in cells for output in cell["outputs"] if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3
    assert not any(o["output_type"] == "error" for cell in cells for o in cell["outputs"])
