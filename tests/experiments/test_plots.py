"""Pictures from made-up runs."""

import csv
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
from slow_cases import slow

from keras_peterrec.experiments.plots import draw, pareto_front
from keras_peterrec.experiments.tables import summarise
from keras_peterrec.report.plot_style import panels, quality_axis, style
from keras_peterrec.settings.plans import PLANS
from keras_peterrec.task_kinds import get_kind


def made_up(plan, folder):
    """Runs of two tasks and two seeds for every row of a plan."""
    runs = []
    for number, row in enumerate(plan.rows):
        for seed in range(2):
            for task, kind, metric in (
                ("action", "recommendation", "ndcg@10"),
                ("spend", "regression", "rmse"),
            ):
                where = f"runs/seed-{seed}/{task}/{row.folder}"
                (folder / where).mkdir(parents=True)
                with open(folder / where / "history.csv", "w", newline="") as file:
                    writer = csv.writer(file)
                    writer.writerow(["epoch", "loss", f"val_{metric}"])
                    writer.writerows([n + 1, 1 / (n + 1), 0.1 * n] for n in range(3 + seed))
                shown = dict.fromkeys(get_kind(kind).shown, 0.5)
                value = 0.2 + 0.01 * number + 0.005 * seed
                runs.append(
                    {
                        "row": row.label,
                        "task": task,
                        "kind": kind,
                        "seed": seed,
                        "folder": where,
                        "settings": row.settings,
                        "trainable": 100 * (number + 1),
                        "seconds": 1.0,
                        "test": {**shown, metric: value},
                        "baselines": [
                            {"name": name, "test": {**shown, metric: value}}
                            for name, value in (("popularity", 0.1), ("ridge", 0.18))
                        ],
                    }
                )
    return runs


def plans():
    """By default those that have between them every plot."""
    default = ("strategies", "few-labels", "methods")
    return [plan if name in default else slow(plan)[0] for name, plan in PLANS.items()]


@pytest.mark.parametrize("plan", plans(), ids=list(PLANS))
def test_every_plan_has_its_pictures(plan, tmp_path):
    runs = made_up(plan, tmp_path)
    written = draw(plan, runs, summarise(runs), tmp_path)
    assert written == [f"{name}.png" for name in plan.plots]
    for name in written:
        picture = matplotlib.image.imread(tmp_path / name)
        assert picture.shape[1] > 600 and picture.std() > 0.02, name


def test_without_histories_there_are_no_curves(tmp_path):
    plan = PLANS["pretraining"]
    runs = made_up(plan, tmp_path)
    for file in tmp_path.rglob("history.csv"):
        file.unlink()
    assert draw(plan, runs, summarise(runs), tmp_path) == ["comparison.png"]


def test_rows_can_be_told_apart_without_colour():
    looks = {(style(n)["marker"], str(style(n)["linestyle"])) for n in range(20)}
    assert len(looks) == 20


def test_up_is_better_whatever_the_metric():
    tasks = {"action": "recommendation", "gender": "classification", "spend": "regression"}
    _, axes = panels(tasks)
    for axis, kind in zip(axes, tasks.values()):
        quality_axis(axis, kind, "test")
    assert [axis.yaxis_inverted() for axis in axes] == [False, True, True]
    assert [axis.get_ylabel() for axis in axes] == [
        "test ndcg@10",
        "test log_loss, less is better",
        "test rmse, less is better",
    ]


def test_pareto_front():
    points = [(30, 0.5), (10, 0.2), (20, 0.2), (20, 0.4), (40, 0.45), (50, 0.6)]
    assert pareto_front(points) == [(10, 0.2), (20, 0.4), (30, 0.5), (50, 0.6)]


@pytest.mark.slow
def test_a_notebooks_backend_is_left_alone(tmp_path):
    code = (
        "import matplotlib, sys\n"
        "matplotlib.use('svg')\n"
        "from keras_peterrec.benchmarks import serve\n"
        "from keras_peterrec.experiments import comparison_plot, plots\n"
        "row = {'task': 'a', 'method': 'patch', 'metric': 'm', 'value': 0.3, 'baselines': {}}\n"
        "comparison_plot.plot_comparison([row], sys.argv[1], 'title')\n"
        "assert matplotlib.get_backend() == 'svg', matplotlib.get_backend()\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "plot.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plot.png").stat().st_size > 1_000
