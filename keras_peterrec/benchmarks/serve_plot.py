"""A picture of the serving benchmark: requests a second above, latencies below."""

from matplotlib.figure import Figure

from keras_peterrec.files.atomic_write import save_figure

# Told apart in print, in grey and by the colour-blind.
_COLOURS = ("#0b4f8a", "#e08a1e", "#7aa95c", "#555555")
_STYLES = ("-", "--", ":", "-.")


def plot_rows(result, path):
    """Draws a column for each signature, a line for each server, and the ceilings.

    Args:
        result: dict, as in `metrics.json`.
        path: path of the PNG.
    """
    names = list(dict.fromkeys(row["signature"] for row in result["rows"]))
    servers = list(dict.fromkeys(row["server"] for row in result["rows"]))
    figure = Figure(figsize=(1.5 + 3.2 * len(names), 6))
    axes = figure.subplots(2, len(names), squeeze=False, sharex="col")
    for (above, below), name in zip(axes.T, names):
        shown = [row for row in result["rows"] if row["signature"] == name]
        for number, server in enumerate(servers):
            mine = [row for row in shown if row["server"] == server]
            _draw(above, below, mine, server, _STYLES[number % len(_STYLES)])
        ceiling = max((row["ceiling_per_second"] for row in shown), default=0)
        above.axhline(ceiling, color=_COLOURS[3], linewidth=1, label="in batches, no server")
        above.set_title(name, fontsize=10)
        for axis in (above, below):
            axis.set_ylim(bottom=0)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        connections = sorted({row["connections"] for row in shown})
        below.set_xscale("log")
        below.set_xticks(connections, [str(each) for each in connections])
        below.minorticks_off()
        below.set_xlabel("connections", fontsize=9)
    axes[0, 0].set_ylabel("requests a second", fontsize=9)
    axes[1, 0].set_ylabel("latency, ms", fontsize=9)
    _finish(figure, axes, result["machine"]["processor"], path)


def _draw(above, below, rows, server, style):
    connections = [row["connections"] for row in rows]
    rates = [row["requests_per_second"] for row in rows]
    above.plot(connections, rates, style, color=_COLOURS[0], marker="o", markersize=5, label=server)
    for colour, share in zip(_COLOURS, ("p50", "p90", "p99")):
        values = [row["latency_ms"][share] or float("nan") for row in rows]
        below.plot(
            connections,
            values,
            style,
            color=colour,
            marker="o",
            markersize=4,
            label=f"{server} {share}",
        )


def _finish(figure, axes, title, path):
    entries = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles))
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    columns = 2 * axes.shape[1]
    figure.legend(
        entries.values(), entries.keys(), frameon=False, fontsize=8, ncols=columns, loc="lower left"
    )
    figure.tight_layout(rect=(0, 0.05 * (1 + len(entries) // columns), 1, 0.98))
    save_figure(figure, path)
