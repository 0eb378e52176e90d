"""What the experiments' pictures share; they can be read in print, without colour."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

DPI = 160
# Okabe and Ito's colours, for the colour-blind; markers and lines tell rows apart as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
PRIMARY = {"recommend": "ndcg@10", "classify": "accuracy"}


def style(index):
    """Colour, marker and line of the row at an index, no two alike among 77."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index % len(_LINES)],
    }


def panels(tasks, rows=1):
    """A figure with a column of axes for each task.

    Returns:
        Figure and array of axes `[rows, tasks]`.
    """
    size = (1.2 + 3.1 * len(tasks), 0.9 + 2.7 * rows)
    figure, axes = plt.subplots(rows, len(tasks), figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    for axis, task in zip(axes[0], tasks):
        axis.set_title(task, loc="left", fontsize=10)
    return figure, axes


def save(figure, path, title, handles=None):
    """Writes a figure as PNG with its title above and its legend below."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    bottom = 0.0
    if handles:
        columns = max(1, min(len(handles), int(figure.get_figwidth() // 1.9)))
        lines = -(-len(handles) // columns)
        bottom = (0.22 * lines + 0.1) / figure.get_figheight()
        figure.legend(
            handles, [handle.get_label() for handle in handles], frameon=False, fontsize=8,
            ncols=columns, loc="lower center",
        )  # fmt: skip
    figure.tight_layout(rect=(0, bottom, 1, 1))
    beside = Path(f"{path}.writing")
    figure.savefig(beside, format="png", dpi=DPI)
    plt.close(figure)
    beside.replace(path)
