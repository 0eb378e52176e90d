"""A plot of methods side by side."""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keras_peterrec.files.atomic_write import save_figure
from keras_peterrec.types import AnyPath, Json

# Can be told apart in print and by the colour-blind.
_COLOURS = {
    "patch": "#0b4f8a",
    "all": "#e08a1e",
    "head": "#7aa95c",
    "random_host": "#c44e52",
}


# The simplest baseline is the palest.
_BASELINE_COLOURS = ("#d0d0d0", "#8c8c8c", "#5f5f5f")


def plot_comparison(rows: list[Json], path: AnyPath, title: str) -> None:
    """Draws a bar for each row beside the task's baselines, grouped by task.

    A row has `task`, `method`, `metric`, `value` and `baselines`, values by name.
    """
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    figure = Figure(figsize=(5 * len(metrics), 3.6))
    axes = figure.subplots(1, len(metrics), squeeze=False)
    for axis, metric in zip(axes[0], metrics):
        shown = [row for row in rows if row["metric"] == metric]
        _draw_metric(axis, shown)
        axis.set_title(metric, loc="left", fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    named: Json = {}  # each colour and the names of what is drawn in it
    for row in rows:
        for name, colour in zip(row["baselines"], _BASELINE_COLOURS):
            named.setdefault(colour, {})[name] = None
    for row in rows:
        named.setdefault(_colour(row["method"]), {})[row["method"]] = None
    handles = [
        Rectangle((0, 0), 1, 1, color=colour, label=", ".join(names))
        for colour, names in named.items()
    ]
    figure.legend(handles=handles, frameon=False, fontsize=9, ncols=len(named), loc="lower center")
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    save_figure(figure, path)


def _draw_metric(axis, rows):
    position, ticks, names = 0.0, [], []
    for task in dict.fromkeys(row["task"] for row in rows):
        bars = [row for row in rows if row["task"] == task]
        values = list(zip(bars[0]["baselines"].values(), _BASELINE_COLOURS))
        values += [(bar["value"], _colour(bar["method"])) for bar in bars]
        first = position
        for value, colour in values:
            axis.bar(position, value, color=colour, width=0.9)
            axis.text(position, value, f"{value:.2f}", ha="center", va="bottom", fontsize=6)
            position += 1
        ticks.append((first + position - 1) / 2)
        names.append(task)
        position += 0.8
    axis.set_xticks(ticks, names, fontsize=9)
    axis.tick_params(axis="x", length=0)
    axis.margins(y=0.12)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(method):
    return _COLOURS.get(method, "#555555")
