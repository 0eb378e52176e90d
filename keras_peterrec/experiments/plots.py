"""An experiment's plots: curves, comparison, few labels, parameter budgets."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from keras_peterrec.experiments.tables import MEAN
from keras_peterrec.files.history_file import read_history
from keras_peterrec.report.plot_style import panels, quality_axis, save, style
from keras_peterrec.settings.plans import Plan
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.types import Json

BASELINE_LINES = (
    {"color": "#999999", "linestyle": ":"},
    {"color": "#444444", "linestyle": "-."},
    {"color": "#444444", "linestyle": (0, (1, 3))},
)


def draw(plan: Plan, runs: list[Json], cells: list[Json], folder: Path) -> list[str]:
    """Draws the plots of a plan.

    Args:
        runs: list of dict, as `Runner.results` yields them.
        cells: list of dict, as from `tables.summarise`.
        folder: path of the experiment; its runs lie there.

    Returns:
        list of str, the names of the files written.
    """
    written = []
    for name in plan.plots:
        if PLOTS[name](plan, runs, cells, folder, folder / f"{name}.png"):
            written.append(f"{name}.png")
    return written


def _curves(plan, runs, cells, folder, path):
    """The deciding metric on the validation users after each epoch."""
    return _histories(
        plan,
        runs,
        folder,
        path,
        "validation by epoch",
        lambda kind: get_kind(kind).metric.monitor,
        lambda axis, kind: quality_axis(axis, kind, "validation"),
    )


def _losses(plan, runs, cells, folder, path):
    """The training loss after each epoch; if it falls and validation does not, it overfits."""
    return _histories(
        plan,
        runs,
        folder,
        path,
        "training loss by epoch",
        lambda kind: "loss",
        lambda axis, kind: axis.set_ylabel("training loss", fontsize=9),
    )


def _histories(plan, runs, folder, path, what, column, name_axis):
    tasks = _kinds(runs)
    figure, axes = panels(tasks)
    handles = {}
    for axis, (task, kind) in zip(axes, tasks.items()):
        for index, row in enumerate(_names(runs, "row")):
            of_row = [r for r in runs if r["task"] == task and r["row"] == row]
            curves = [read_history(folder / run["folder"]).get(column(kind)) for run in of_row]
            curves = [curve for curve in curves if curve]
            if not curves:
                continue
            # Seeds stop at different epochs; the mean is over epochs that all have reached.
            reached = np.array([curve[: min(map(len, curves))] for curve in curves])
            epochs, mean = np.arange(1, reached.shape[1] + 1), reached.mean(axis=0)
            [line] = axis.plot(epochs, mean, label=row, markersize=3.5, lw=1.2, **style(index))
            if len(curves) > 1:
                spread = reached.std(axis=0, ddof=1)
                low, high = mean - spread, mean + spread
                axis.fill_between(epochs, low, high, color=line.get_color(), alpha=0.12, lw=0)
            handles.setdefault(row, line)
        axis.set_xlabel("epoch", fontsize=9)
        name_axis(axis, kind)
    return _finish(figure, path, plan, runs, what, handles)


def _comparison(plan, runs, cells, folder, path):
    """Test metrics of the rows side by side, with the baselines as lines."""
    tasks = _kinds(runs)
    rows = _names(runs, "row")
    figure, axes = panels(tasks, height=3.4)  # room for the rows' names
    handles = {}
    for axis, (task, kind) in zip(axes, tasks.items()):
        of_task = _of_task(cells, task, kind)
        for index, row in enumerate(rows):
            if row in of_task:
                look = {**style(index), "linestyle": "none"}
                _point(axis, index, of_task[row], markersize=6, **look)
        _baselines(axis, of_task, rows, handles)
        axis.set_xticks(range(len(rows)), rows, rotation=40, ha="right", fontsize=7)
        axis.set_xlim(-0.7, len(rows) - 0.3)
        quality_axis(axis, kind, "test")
    return _finish(figure, path, plan, runs, "test users", handles)


def _fractions(plan, runs, cells, folder, path):
    """Test metrics against the share of users that is trained on, a line for each method."""
    tasks = _kinds(runs)
    settings = {run["row"]: run["settings"] for run in runs}
    methods = list(dict.fromkeys(values["method"] for values in settings.values()))
    figure, axes = panels(tasks)
    handles = {}
    for axis, (task, kind) in zip(axes, tasks.items()):
        of_task = _of_task(cells, task, kind)
        for index, method in enumerate(methods):
            fractions = sorted(
                (100 * settings[row].get("train_fraction", 1.0), row)
                for row in of_task
                if row in settings and settings[row]["method"] == method
            )
            points = [of_task[row] for _, row in fractions]
            handle = axis.errorbar(
                [percent for percent, _ in fractions],
                [cell["mean"] for cell in points],
                [cell["sd"] or 0.0 for cell in points],
                capsize=2,
                label=method,
                **style(index),
            )
            handles.setdefault(method, handle)
        _baselines(axis, of_task, settings, handles)
        axis.set_xscale("log")
        ticks = sorted({100 * values.get("train_fraction", 1.0) for values in settings.values()})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
        axis.minorticks_off()
        axis.set_xlabel("training users, %", fontsize=9)
        quality_axis(axis, kind, "test")
    return _finish(figure, path, plan, runs, "test users", handles)


def _budgets(plan, runs, cells, folder, path):
    """Test metrics against trained parameters, with the Pareto front as a line."""
    tasks = _kinds(runs)
    rows = _names(runs, "row")
    families = list(dict.fromkeys(map(_family, rows)))
    figure, axes = panels(tasks)
    handles = {}
    for axis, (task, kind) in zip(axes, tasks.items()):
        of_task = _of_task(cells, task, kind)
        sign = 1 if get_kind(kind).metric.higher_is_better else -1
        points = []
        for row in (row for row in rows if row in of_task):
            family, cell = _family(row), of_task[row]
            look = {**style(families.index(family)), "linestyle": "none"}
            handle = _point(axis, cell["trainable"], cell, label=family, markersize=6, **look)
            handles.setdefault(family, handle)
            if family != row:
                axis.annotate(
                    row.partition(":")[2],
                    (cell["trainable"], cell["mean"]),
                    fontsize=6,
                    xytext=(3, 3),
                    textcoords="offset points",
                )
            points.append((cell["trainable"], sign * cell["mean"]))
        front = [(cost, sign * quality) for cost, quality in pareto_front(points)]
        [line] = axis.plot(*zip(*front), color="#555555", lw=0.9, ls="--", label="Pareto front")
        _baselines(axis, of_task, rows, handles)
        handles.setdefault("front", line)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k, 1M
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("trained parameters", fontsize=9)
        quality_axis(axis, kind, "test")
    return _finish(figure, path, plan, runs, "test users", handles)


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The `(cost, quality)` points for which no cheaper point is as good, sorted by cost."""
    front = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front


PLOTS = {
    "curves": _curves,
    "losses": _losses,
    "comparison": _comparison,
    "fractions": _fractions,
    "budgets": _budgets,
}


def _family(row):
    """A method at all its sizes is one family; a stack is a family of its own."""
    return row if "+" in row else row.split(":")[0]


def _point(axis, x, cell, **look):
    return axis.errorbar([x], [cell["mean"]], [cell["sd"] or 0.0], capsize=2, **look)


def _baselines(axis, of_task, rows, handles):
    """A line for each baseline of a task, the simplest the palest."""
    for index, name in enumerate(name for name in of_task if name not in rows):
        look = BASELINE_LINES[min(index, len(BASELINE_LINES) - 1)]
        line = axis.axhline(of_task[name]["mean"], lw=1, label=name, **look)
        handles.setdefault(name, line)


def _finish(figure, path, plan, runs, what, handles):
    """Saves the figure, unless nothing was drawn. Returns whether it was saved."""
    seeds = len({run["seed"] for run in runs})
    spread = f", mean ± sd of {seeds} seeds" if seeds > 1 else ""
    if handles:
        save(figure, path, f"{plan.title}: {what}{spread}", list(handles.values()))
    return bool(handles)


def _kinds(runs):
    return {run["task"]: run["kind"] for run in runs}


def _of_task(cells, task, kind):
    return {
        cell["row"]: cell
        for cell in cells
        if cell["task"] == task != MEAN and cell["metric"] == get_kind(kind).metric.name
    }


def _names(entries, key):
    return list(dict.fromkeys(entry[key] for entry in entries))
