"""The charts of a report, each with a line that says in words what it shows."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_peterrec.report import views
from keras_peterrec.report.plot_style import plain, style

BASELINE_MARKERS = ("s", "^", "D", "v", "P")
GREY = "#555555"


def svg(figure: Any, name: str) -> str:
    """A figure as an SVG element that can stand inside a page.

    Args:
        figure: matplotlib Figure.
        name: str. Different for each figure of a page: their inner names are made from it.
    """
    written = io.StringIO()
    look: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    with matplotlib.rc_context(look):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def curves(history: dict, monitor: str, best_epoch: int) -> tuple:
    """Training loss and the deciding metric of the validation users, by epoch.

    Args:
        history: dict of lists, of `read_history`.
        monitor: str. Column of the deciding metric.
        best_epoch: int, from 1; 0 is the start.

    Returns:
        Figure, and str, its description.
    """
    shown = [name for name in ("loss", monitor) if name in history]
    figure, axes = _figure(len(shown))
    names = {"loss": "training loss", monitor: monitor.replace("val_", "validation ")}
    for index, (axis, name) in enumerate(zip(axes, shown)):
        values = history[name]
        epochs = np.arange(1, len(values) + 1)
        axis.plot(epochs, values, markersize=3.5, lw=1.2, **style(index))
        if 0 < best_epoch <= len(values):
            axis.axvline(best_epoch, color=GREY, lw=0.8, ls=":")
        axis.set_xlabel("epoch", fontsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_title(names[name], loc="left", fontsize=10)
    first, last = (history[monitor][n] for n in (0, -1)) if monitor in history else (0, 0)
    words = f"{names[monitor]} went from {first:.4g} to {last:.4g}, best in epoch {best_epoch}."
    return _done(figure), words


def comparison(run: dict) -> tuple:
    """The deciding metric of a run with its interval, beside its baselines."""
    metric = run["decides"]["name"]
    values = [("this run", run["metrics"]["test"][metric])]
    values += [(b["name"], b["test"].get(metric)) for b in run["baselines"]]
    values = [(name, value) for name, value in values if value is not None]
    figure, [axis] = _figure(1, height=0.9 + 0.35 * len(values))
    for place, (name, value) in enumerate(values):
        interval = run["intervals"].get(metric) if place == 0 else None
        _point(axis, value, place, interval, 0 if place == 0 else place)
        axis.annotate(f"{value:.3f}", (value, place), (6, 5), textcoords="offset points", size=8)
    axis.set_yticks(range(len(values)), [name for name, _ in values], fontsize=9)
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.margins(x=0.15)
    axis.set_xlabel(_named(run["decides"]), fontsize=9)
    words = "; ".join(f"{name} {value:.3f}" for name, value in values)
    return _done(figure), f"{metric} on test users: {words}."


def groups(found: dict, decides: dict) -> tuple:
    """The deciding metric of groups of rows, beside the baselines'."""
    of = found["groups"]
    figure, [axis] = _figure(1, height=1.2 + 0.34 * len(of))
    for place, group in enumerate(of):
        label = "this run" if place == 0 else None
        _point(axis, group["value"], place, group["interval"], 0, label)
        for number, (name, value) in enumerate(group["baselines"].items(), 1):
            label = name if place == 0 else None
            _point(axis, value, place + 0.22, None, number, label)
    axis.set_yticks(range(len(of)), [group["group"] for group in of], fontsize=8)
    axis.set_ylim(len(of) - 0.4, -0.6)
    axis.set_xlabel(_named(decides), fontsize=9)
    axis.legend(frameon=False, fontsize=8, loc="best")
    words = "; ".join(f"{group['group']}: {group['value']:.3f}" for group in of)
    return _done(figure), f"{decides['name']} by {found['by']}: {words}."


def confusion(found: dict) -> tuple:
    """True classes by given classes, as numbers on shades of grey."""
    size = len(found["labels"])
    figure = Figure(figsize=(2.2 + 0.55 * size, 1.4 + 0.45 * size))
    axis = figure.subplots()
    _draw_confusion(axis, found)
    counts = np.array(found["counts"])
    right = np.trace(counts) / max(1, counts.sum())
    return _done(figure), f"Confusion matrix of {size} classes; {right:.0%} on the diagonal."


def reliability(found: dict) -> tuple:
    """Shares of what was true, by the probability that was given."""
    figure, [axis] = _figure(1, height=3.2, width=3.8)
    _draw_reliability(axis, found)
    return _done(figure), f"Reliability curve; mean distance to the diagonal {found['error']:.3f}."


def precision_recall(found: list) -> tuple:
    """Precision against recall, a line for each label."""
    figure, [axis] = _figure(1, height=3.2, width=4.6)
    _draw_curves(axis, found)
    words = "; ".join(f"{c['label']} {c['average_precision']:.3f}" for c in found)
    return _done(figure), f"Precision-recall curves; average precision: {words}."


def numbers(found: dict) -> tuple:
    """Answers against truths."""
    points = np.array(found["points"])
    figure, [axis] = _figure(1, height=3.4, width=4.2)
    axis.plot(*points.T, linestyle="none", marker="o", markersize=2.5, alpha=0.5, color="#0072B2")
    ends = [points.min(), points.max()]
    axis.plot(ends, ends, color=GREY, lw=0.9, ls="--", label="answer = truth")
    axis.set_xlabel("truth", fontsize=9)
    axis.set_ylabel("answer", fontsize=9)
    axis.legend(frameon=False, fontsize=8)
    return _done(figure), f"Answers against truths; mean error {found['bias']:.4g}."


def probability_pictures(rows: dict) -> dict:
    """Confusion matrix, reliability and precision-recall curves, uint8 `[H, W, 4]` by name.

    Args:
        rows: dict of arrays, with `probabilities`.
    """
    described = views.describe_probabilities(rows)
    drawn = {
        "confusion": (_draw_confusion, described.get("confusion")),
        "calibration": (_draw_reliability, described["calibration"]),
        "precision and recall": (_draw_curves, described["curves"]),
    }
    pictures = {}
    for name, (draw, data) in drawn.items():
        if data:
            figure, [axis] = _figure(1, height=3.6, width=4.4)
            draw(axis, data)
            canvas = FigureCanvasAgg(_done(figure))
            canvas.draw()
            pictures[name] = np.asarray(canvas.buffer_rgba())
    return pictures


def _draw_confusion(axis, found):
    counts, labels = np.array(found["counts"], "float64"), found["labels"]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    # As polygons: a picture inside an SVG would have to be loaded.
    axis.pcolormesh(shares, cmap="Greys", vmin=0, vmax=1, edgecolors="white", linewidth=0.5)
    axis.invert_yaxis()
    axis.grid(False)
    size = 8 if len(labels) < 8 else 6
    for row, column in np.ndindex(*counts.shape):
        shade = "white" if shares[row, column] > 0.5 else "black"
        text = f"{counts[row, column]:.0f}"
        axis.text(
            column + 0.5, row + 0.5, text, ha="center", va="center", color=shade, fontsize=size
        )
    turned = {"rotation": 40, "ha": "right"} if max(map(len, labels)) > 2 else {}
    middles = np.arange(len(labels)) + 0.5
    axis.set_xticks(middles, labels, fontsize=size, **turned)
    axis.set_yticks(middles, labels, fontsize=size)
    axis.set_xlabel("given", fontsize=9)
    axis.set_ylabel("true", fontsize=9)


def _draw_reliability(axis, found):
    said, true = ([b[name] for b in found["bins"]] for name in ("probability", "share"))
    axis.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls="--", label="calibrated")
    axis.plot(said, true, markersize=4, lw=1.2, label="test users", **style(0))
    for place, one in enumerate(found["bins"]):
        at, text = (said[place], true[place]), f"{one['count']:,}"
        axis.annotate(text, at, (4, -9), size=6, textcoords="offset points")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("probability given", fontsize=9)
    axis.set_ylabel("share that was true", fontsize=9)
    axis.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_curves(axis, found):
    for index, curve in enumerate(found):
        look = {**style(index), "marker": None}
        label = f"{curve['label']} ({curve['average_precision']:.2f})"
        axis.plot(curve["recall"], curve["precision"], lw=1.3, label=label, **look)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.03)
    axis.set_xlabel("recall", fontsize=9)
    axis.set_ylabel("precision", fontsize=9)
    axis.legend(frameon=False, fontsize=7, title="average precision", title_fontsize=7)


def _point(axis, value, place, interval, index, label=None):
    """A value on a horizontal axis, with its interval; baselines are hollow and grey."""
    look = {**style(0), "linestyle": "none", "markersize": 6}
    if index:
        look["marker"] = BASELINE_MARKERS[(index - 1) % len(BASELINE_MARKERS)]
        look |= {"color": GREY, "markerfacecolor": "none"}
    spread = None
    if interval is not None:
        spread = [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]
    axis.errorbar([value], [place], xerr=spread, capsize=3, label=label, **look)


def _named(decides):
    better = "more" if decides["higher_is_better"] else "less"
    return f"{decides['name']} ({better} is better)"


def _figure(count, height=2.6, width=None):
    figure = Figure(figsize=(width or (6.4 if count == 1 else 3.6 * count), height))
    axes = list(figure.subplots(1, count, squeeze=False).flat)
    for axis in axes:
        plain(axis)
    return figure, axes


def _done(figure):
    figure.tight_layout()
    return figure
