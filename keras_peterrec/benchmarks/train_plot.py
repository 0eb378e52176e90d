"""A picture of the training benchmark: speed above, memory below, a column a sweep."""

from matplotlib.figure import Figure

from keras_peterrec.benchmarks.sweep import SWEEPS
from keras_peterrec.files.atomic_write import save_figure

# By side: told apart in print, in grey and by the colour-blind.
_SIDES = (("#0b4f8a", "-"), ("#e08a1e", "--"), ("#7aa95c", ":"), ("#555555", "-."))
_MARKERS = {"backbone": "o", "sampled": "s", "full": "^"}
_TITLES = {"items": "items", "length": "length", "batch": "batch size", "channels": "channels"}
_MEASURES = (
    ("tokens a second", lambda row: row["tokens_per_second"]),
    ("peak memory, GiB", lambda row: row["peak_bytes"] / 2**30),
)


def plot_rows(rows, path, title):
    """Draws the rows of a benchmark.

    Args:
        rows: list of dict, as in `metrics.json`.
        path: path of the PNG.
        title: str.
    """
    sweeps = list(dict.fromkeys(row["sweep"] for row in rows))
    figure = Figure(figsize=(1.5 + 4 * len(sweeps), 6))
    axes = figure.subplots(2, len(sweeps), squeeze=False, sharex="col")
    for column, sweep in zip(axes.T, sweeps):
        shown = [row for row in rows if row["sweep"] == sweep]
        for axis, (label, value) in zip(column, _MEASURES):
            draw = _draw_lines if sweep in SWEEPS else _draw_bars
            draw(axis, shown, sweep, value)
            axis.set_ylabel(label, fontsize=9)
            axis.set_ylim(bottom=0)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        column[1].set_xlabel(_TITLES.get(sweep, "loss"), fontsize=9)
    entries = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles))
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    figure.legend(
        entries.values(),
        entries.keys(),
        frameon=False,
        fontsize=8,
        ncols=2 * len(sweeps),
        loc="lower left",
    )
    figure.tight_layout(rect=(0, 0.05 * (1 + len(entries) // (2 * len(sweeps))), 1, 0.98))
    save_figure(figure, path)


def _draw_lines(axis, rows, sweep, value):
    """A line for each side and loss, over the swept setting."""
    setting = SWEEPS[sweep][0]
    for side, (colour, style) in _styles(rows):
        for loss, marker in _MARKERS.items():
            line = [row for row in rows if row["side"] == side and row["loss"] == loss]
            if line:
                axis.plot(
                    [row[setting] for row in line],
                    [value(row) for row in line],
                    style,
                    color=colour,
                    marker=marker,
                    markersize=5,
                    linewidth=1.3,
                    label=f"{side}, {loss}",
                )
    axis.set_xscale("log")
    values = sorted({row[setting] for row in rows})
    axis.set_xticks(values, [f"{each:,}" for each in values])
    axis.minorticks_off()


def _draw_bars(axis, rows, sweep, value):
    """A group of bars for each loss, one a side."""
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    styles = _styles(rows)
    width = 0.8 / len(styles)
    for number, (side, (colour, _)) in enumerate(styles):
        for row in rows:
            if row["side"] == side:
                place = losses.index(row["loss"]) + (number - (len(styles) - 1) / 2) * width
                bar = axis.bar(place, value(row), 0.92 * width, color=colour, label=side)
                axis.bar_label(bar, fmt="{:,.0f}" if value(row) >= 100 else "{:.2f}", fontsize=7)
    axis.set_xticks(range(len(losses)), losses)


def _styles(rows):
    sides = list(dict.fromkeys(row["side"] for row in rows))
    return [(side, _SIDES[number % len(_SIDES)]) for number, side in enumerate(sides)]
