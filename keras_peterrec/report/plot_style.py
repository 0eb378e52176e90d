"""What the experiments' plots share. They can be read in print, without colour."""

import textwrap

from matplotlib.figure import Figure

from keras_peterrec.files.atomic_write import save_figure
from keras_peterrec.task_kinds import get_kind

DPI = 160
# Okabe and Ito's colours, safe for the colour-blind. Markers and lines differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def style(index):
    """Colour, marker and line of a row by its index; the first 77 are all different."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index % len(_LINES)],
    }


def plain(axis):
    """Gives an axis a light grid, and no frame above and at its right."""
    axis.grid(True, color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def panels(tasks, height=2.6):
    """A figure with axes for each task, at most 3 side by side, `height` inches each.

    Returns:
        Figure and list of axes, one for each task.
    """
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    size = (0.8 + max(5.4, 3.3 * columns), 0.9 + height * lines)
    figure = Figure(figsize=size)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axis in grid.flat[len(tasks) :]:
        axis.set_visible(False)
    for axis, task in zip(grid.flat, tasks):
        plain(axis)
        axis.set_title(task, loc="left", fontsize=10)
    return figure, list(grid.flat[: len(tasks)])


def quality_axis(axis, kind, split):
    """Names the vertical axis after a kind's deciding metric and turns it so that up is better."""
    metric_axis(axis, get_kind(kind).metric, split)


def metric_axis(axis, metric, split):
    """Names the vertical axis after a Metric and turns it so that up is better."""
    label = f"{split} {metric.name}"
    if not metric.higher_is_better:
        axis.invert_yaxis()
        label += ", less is better"
    axis.set_ylabel(label, fontsize=9)


def save(figure, path, title, handles=None):
    """Writes a figure as PNG with its title above and its legend below."""
    width, height = figure.get_size_inches()
    wrapped = textwrap.fill(title, int(width * 12))  # 12 letters fit into an inch
    figure.suptitle(wrapped, x=0.01, ha="left", fontsize=11)
    bottom = 0.0
    if handles:
        columns = max(1, min(len(handles), int(width // 1.5)))
        lines = -(-len(handles) // columns)
        # The figure grows for the legend, so that the panels keep their size.
        below = 0.2 * lines + 0.1
        figure.set_figheight(height + below)
        bottom = below / (height + below)
        figure.legend(
            handles,
            [handle.get_label() for handle in handles],
            frameon=False,
            fontsize=8,
            ncols=columns,
            loc="lower center",
        )
    figure.tight_layout(rect=(0, bottom, 1, 1))
    save_figure(figure, path, DPI)
