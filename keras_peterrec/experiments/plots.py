"""An experiment's plots: curves, comparison, few labels, parameter budgets."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from keras_peterrec.experiments.tables import MEAN, names_of
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
    """Draws the plots of a plan, but those that have nothing to show; returns their files' names.

    `runs` are as `Runner.results` yields them, with their folders in `folder`, and `cells` as from
    `tables.summarise`.
    """
    shown, written = _Shown(runs, cells, folder), []
    seeds = len({run["seed"] for run in runs})
    spread = f", mean ± sd of {seeds} seeds" if seeds > 1 else ""
    for name in plan.plots:
        plot, handles = PLOTS[name], {}
        tasks = {run["task"]: run["kind"] for run in runs}
        figure, axes = panels(tasks, plot.height)
        for axis, (task, kind) in zip(axes, tasks.items()):
            plot.draw_task(axis, shown, task, kind, handles)
        if handles:
            title = f"{plan.title}: {plot.what}{spread}"
            save(figure, folder / f"{name}.png", title, list(handles.values()))
            written.append(f"{name}.png")
    return written


@dataclass(frozen=True)
class _Shown:
    """An experiment's runs, the cells of its table and the folder in which the runs lie."""

    runs: list
    cells: list
    folder: Path

    @property
    def rows(self):
        return names_of(self.runs, "row")

    @property
    def settings(self):
        """The settings of each row."""
        return {run["row"]: run["settings"] for run in self.runs}

    def of_task(self, task, kind):
        """The cell of each row and baseline, of the metric that decides."""
        return {
            cell["row"]: cell
            for cell in self.cells
            if cell["task"] == task != MEAN and cell["metric"] == get_kind(kind).metric.name
        }


def _curves(axis, shown, task, kind, handles):
    """The deciding metric on the validation users after each epoch."""
    _histories(axis, shown, task, get_kind(kind).metric.monitor, handles)
    quality_axis(axis, kind, "validation")


def _losses(axis, shown, task, kind, handles):
    """The training loss after each epoch; if it falls and validation does not, it overfits."""
    _histories(axis, shown, task, "loss", handles)
    axis.set_ylabel("training loss", fontsize=9)


def _histories(axis, shown, task, column, handles):
    for index, row in enumerate(shown.rows):
        of_row = [r for r in shown.runs if r["task"] == task and r["row"] == row]
        curves = [read_history(shown.folder / run["folder"]).get(column) for run in of_row]
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


def _comparison(axis, shown, task, kind, handles):
    """Test metrics of the rows side by side, with the baselines as lines."""
    of_task, rows = shown.of_task(task, kind), shown.rows
    for index, row in enumerate(rows):
        if row in of_task:
            look = {**style(index), "linestyle": "none"}
            _point(axis, index, of_task[row], markersize=6, **look)
    _baselines(axis, of_task, rows, handles)
    axis.set_xticks(range(len(rows)), rows, rotation=40, ha="right", fontsize=7)
    axis.set_xlim(-0.7, len(rows) - 0.3)
    quality_axis(axis, kind, "test")


def _fractions(axis, shown, task, kind, handles):
    """Test metrics against the share of users that is trained on, a line for each method."""
    of_task, settings = shown.of_task(task, kind), shown.settings
    percent = {row: 100 * values.get("train_fraction", 1.0) for row, values in settings.items()}
    for index, method in enumerate(names_of(settings.values(), "method")):
        rows = [row for row in of_task if row in settings and settings[row]["method"] == method]
        rows.sort(key=percent.get)
        handle = axis.errorbar(
            [percent[row] for row in rows],
            [of_task[row]["mean"] for row in rows],
            [of_task[row]["sd"] or 0.0 for row in rows],
            capsize=2,
            label=method,
            **style(index),
        )
        handles.setdefault(method, handle)
    _baselines(axis, of_task, settings, handles)
    axis.set_xscale("log")
    ticks = sorted(set(percent.values()))
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel("training users, %", fontsize=9)
    quality_axis(axis, kind, "test")


def _budgets(axis, shown, task, kind, handles):
    """Test metrics against trained parameters, with the Pareto front as a line."""
    of_task, rows = shown.of_task(task, kind), shown.rows
    families = list(dict.fromkeys(map(_family, rows)))
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


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The `(cost, quality)` points for which no cheaper point is as good, sorted by cost."""
    front = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front


@dataclass(frozen=True)
class _Plot:
    """A figure with a panel a task; `draw_task` fills one and adds to the legend's handles."""

    draw_task: Callable[..., None]
    what: str
    height: float = 2.6  # inches of a panel


PLOTS = {
    "curves": _Plot(_curves, "validation by epoch"),
    "losses": _Plot(_losses, "training loss by epoch"),
    "comparison": _Plot(_comparison, "test users", 3.4),  # room for the rows' names
    "fractions": _Plot(_fractions, "test users"),
    "budgets": _Plot(_budgets, "test users"),
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
