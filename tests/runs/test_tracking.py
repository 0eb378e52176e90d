"""What `notebooks/tracking.md` offers to copy arrives at a real MLflow."""

import json
import re
import shutil
from pathlib import Path

import pytest

mlflow = pytest.importorskip("mlflow")
PAGE = Path(__file__).parents[2] / "notebooks" / "tracking.md"


def function_of_page(name):
    [code] = [c for c in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if name in c]
    found = {}
    exec(code, found)
    return found[name]


def test_settings_metrics_curves_report_and_export_arrive(
    host_folder, causal_export, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the tables of a database take seconds
    store = (tmp_path / "mlruns").as_uri()
    mlflow.set_tracking_uri(store)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", (tmp_path / "a").as_uri()))
    folder = tmp_path / "host"
    shutil.copytree(host_folder, folder)
    result = json.loads((folder / "metrics.json").read_text())
    run_id = function_of_page("log_to_mlflow")(folder, causal_export.out)
    client = mlflow.MlflowClient(store)
    run = client.get_run(run_id)
    assert run.info.run_name == "host" and run.data.tags["command"] == "pretrain"
    recorded = json.loads((folder / "run.json").read_text())["settings"]
    assert run.data.params == {n: str(v) for n, v in recorded.items() if v is not None}
    for split in ("validation", "test"):
        for name, value in result["metrics"][split].items():
            assert run.data.metrics[f"{split}/{name.replace('@', '_at_')}"] == pytest.approx(value)
    [popular] = [b["test"] for b in result["baselines"] if b["name"] == "popularity"]
    assert run.data.metrics["test popularity/hr_at_10"] == pytest.approx(popular["hr@10"])
    curve = client.get_metric_history(run_id, "epoch/loss")
    assert [point.step for point in curve] == [1, 2] and curve[1].value < curve[0].value
    assert {file.path for file in client.list_artifacts(run_id)} == {
        *("report.html", "run.json", "export")
    }
    card = Path(client.download_artifacts(run_id, "export/assets.extra/README.md"))
    assert card.read_text() == (causal_export.out / "assets.extra" / "README.md").read_text()
    exported = {file.path for file in client.list_artifacts(run_id, "export")}
    assert "export/saved_model.pb" in exported
