"""Experiments on files of one's own: Amazon's layout and the paper's."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from keras_peterrec.experiments.engine import experiment
from keras_peterrec.settings.plans import PLANS, Plan, Row

SMALL = {"hidden_dim": 8, "blocks": 1, "max_length": 8, "epochs": 1, "seeds": 1}
LINEAR, HEAD = Row("linear", run="linear"), Row("FineCLS", {"method": "head"})
DEMO = Path(__file__).parents[3] / "shared" / "data" / "peterrec_demo"


def run(monkeypatch, rows, *arguments, **settings):
    plan = Plan("tiny", "A small plan", rows, ("comparison",), "nothing")
    monkeypatch.setitem(PLANS, "tiny", plan)
    return experiment("tiny", *arguments, **{**SMALL, **settings})


@pytest.mark.slow
def test_amazon(tmp_path, here, monkeypatch):
    random = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    for domain, first in (("sports", 0), ("toys", 20), ("beauty", 40)):
        lines = ["user_id,item_id,timestamp"]
        for user in range(first, first + 80):  # shared by some, in part
            items = random.choice(15, 6, replace=False)
            lines += [f"A{user},{domain}{item},{time}" for time, item in enumerate(items)]
        with gzip.open(data / f"{domain}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    result = run(monkeypatch, (LINEAR,), "amazon", data, out=tmp_path / "linear")
    tasks = ["sports-beauty", "toys-beauty", "sports-toys"]
    assert result["settings"]["tasks"] == tasks
    for metric in ("ndcg@10", "hr@10"):
        cells = [
            c["task"] for c in result["table"] if (c["row"], c["metric"]) == ("linear", metric)
        ]
        assert cells == [*tasks, "mean"]
    result = run(monkeypatch, (HEAD,), "amazon", data, tasks=["toys-beauty"], out=tmp_path / "head")
    [record] = result["runs"]
    settings = json.loads((tmp_path / "head" / record["folder"] / "run.json").read_text())
    assert settings["settings"]["cut_history"] is False
    hosts = [folder.name for folder in (tmp_path / "head" / "hosts").iterdir()]
    assert hosts == ["toys-causal-seed-0"]


@pytest.mark.skipif(not DEMO.is_dir(), reason="the demo files are not at hand")
def test_demo_of_the_paper(tmp_path, here, monkeypatch, capsys):
    result = run(monkeypatch, (LINEAR, HEAD), "peterrec", DEMO, out=tmp_path / "out", seeds=2)
    said = capsys.readouterr().err
    assert "left out, no file" in said and "GenEst" in said
    assert result["settings"]["tasks"] == ["ColdRec-2"]
    assert {record["row"] for record in result["runs"]} == {"linear", "FineCLS"}
    cell = next(cell for cell in result["table"] if cell["row"] == "FineCLS")
    assert cell["task"] == "ColdRec-2" and 0 <= cell["mean"] <= 1
